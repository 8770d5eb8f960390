import type { Findings } from "#base";
import type { Plan } from "#plan";
import type { Site } from "#profile";
import {
  type Mirror,
  type MirrorOptions,
  mirrorsFor,
  type NodeAccess,
  type NodeCredential,
} from "#redirect";
import type { DiskStore } from "#store";
import { coreImageHosts } from "./core-images.ts";
import type { Planned } from "./plan-inputs.ts";
import { robotSecretsIn } from "./robot-secrets.ts";
import {
  type Advice,
  adviseRuntime,
  type Edited,
  editedFiles,
  type RuntimeTarget,
} from "./runtime-files.ts";

/** How a runtime is redirected. */
export interface RedirectionOptions extends RuntimeTarget {
  /** containerd's own configuration, which is read and not written. */
  readonly containerdConfig: string;
  readonly via: MirrorOptions["via"];
  /** The embedded registry as nodes dial it. */
  readonly embedded: MirrorOptions["embedded"];
  /** Where a delivery keeps the nodes' account at a Harbor. */
  readonly dataDir: string;
  /** Open for reading at least; undefined before anything was delivered. */
  readonly store: DiskStore | undefined;
}

/** What redirecting a runtime takes: what it is told, the files that say so, what a person must do. */
export interface Redirection {
  readonly mirrors: readonly Mirror[];
  readonly files: readonly Edited[];
  readonly advice: readonly Advice[];
}

/**
 * Decides what a runtime is told of the site's registries, and how its files change by that. Writes
 * nothing. What is wrong with the files that lie there is a finding.
 */
export async function planRedirection(
  { plan, inputs }: Pick<Planned, "plan" | "inputs">,
  options: RedirectionOptions,
  findings: Findings,
): Promise<Redirection> {
  const { runtime, via, embedded, store, containerdConfig } = options;
  const local = await localAccess(plan, inputs.site, options.dataDir, findings);
  const coreHosts = store === undefined ? [] : await coreImageHosts(plan, store);
  const mirrors = mirrorsFor(plan, { runtime, via, embedded, local, coreHosts }, findings);
  const files = editedFiles(options, mirrors, findings);
  return { mirrors, files, advice: adviseRuntime(options, mirrors, files, containerdConfig) };
}

async function localAccess(
  plan: Plan,
  { localSettings }: Site,
  dataDir: string,
  findings: Findings,
): Promise<NodeAccess> {
  const { local } = plan.registries;
  const nodes = localSettings.nodes ?? (await robotOf(plan, dataDir));
  if (local !== null && local.access.credential !== undefined && nodes === undefined) {
    findings.warn(
      { file: "", line: 1, column: 1, path: "" },
      "redirect-without-login",
      `The local registry ${local.address ?? ""} has a login and nodes have none, so what it does not give to everybody they take from the embedded registry`,
      "Deliver first, which makes a robot account at a Harbor, or set localRegistry.nodes in the site file; then run dray redirect again",
    );
  }
  return {
    ...(nodes === undefined ? {} : { credential: nodes }),
    certificates: local?.access.certificates ?? [],
    insecure: local?.access.insecure ?? false,
  };
}

/** The account that a delivery made for nodes at the Harbor of the plan. */
export async function robotOf(
  { registries: { local } }: Plan,
  dataDir: string,
): Promise<NodeCredential | undefined> {
  if (local?.kind !== "harbor") return undefined;
  const robots = await robotSecretsIn(dataDir).read();
  const robot = robots.find(({ harbor, project, purpose }) => {
    return purpose === "nodes" && harbor === local.address && project === local.project;
  });
  return robot?.login ?? undefined;
}
