import { dirname, isAbsolute, join, resolve } from "node:path";
import { isFailure } from "#base";
import { createMemoryStore } from "#content";
import type { Problem, ProveOptions, SiteState } from "#prove";
import {
  adviseContainerd,
  type Followed,
  followHostsToml,
  followRegistriesYaml,
  type MirrorOptions,
  type RuntimeKind,
} from "#redirect";
import type { Reference } from "#reference";
import { type Patience, Remote } from "#remote";
import { CONTAINERD_SOCKET, readConfigFile } from "#runtime";
import { isListening } from "./agent-socket.ts";
import type { SiteContext } from "./context.ts";
import { dialled } from "./dialled.ts";
import { embeddedAsServed } from "./embedded-address.ts";
import { serveOnLoopback } from "./loopback-registry.ts";
import { openStoreIfThere } from "./own-store.ts";
import type { Planned } from "./plan-inputs.ts";
import { robotOf } from "./redirection.ts";
import { defaultConfigDir, type RuntimeTarget, readHostFolder } from "./runtime-files.ts";
import { listRuntimeImages } from "./runtime-images.ts";
import { directAccess, openSiteRegistries } from "./site-registries.ts";
import { remoteOptions } from "./uplink.ts";

/** Where a site is looked at; what is undefined is as the site file says. */
export interface ProvenSiteOptions {
  readonly dataDir?: string;
  readonly runtime?: RuntimeKind | "none";
  readonly configDir?: string;
  readonly containerdConfig: string;
  /** Where the runtime takes requests. */
  readonly socket?: string;
  /** `host:port`, or URL, of the embedded registry as nodes dial it. */
  readonly embedded?: string;
}

/** A site that is open to be examined. It must be disposed of. */
export interface ProvenSite extends AsyncDisposable {
  readonly ports: Pick<ProveOptions, "store" | "registries" | "names" | "follow" | "inRuntime">;
  readonly state: Omit<SiteState, "profiles" | "platform" | "depth">;
}

/** What is asked is near, and is there or is not: a proof must not wait long for what is down. */
const PATIENCE: Patience = {
  ...{ attempts: 2, firstMs: 200, maxMs: 1_000 },
  ...{ headerTimeoutMs: 10_000, stallMs: 20_000 },
};

/**
 * Opens what is on the site and nothing else: the store for reading, its registries, the runtime's files.
 * Where nobody serves the store, it is served on a free port of loopback until this is disposed of.
 *
 * @throws {Failure} what `openStore` throws but for a store that is not there yet; `usage` for an
 *   `embedded` that is no address
 */
export async function openProvenSite(
  planned: Pick<Planned, "plan" | "inputs">,
  options: ProvenSiteOptions,
  context: SiteContext,
  signal: AbortSignal,
): Promise<ProvenSite> {
  const { plan, inputs } = planned;
  const { local } = plan.registries;
  await using undo = new AsyncDisposableStack();
  const dataDir = resolve(options.dataDir ?? inputs.site.dataDir);
  const disk = await openStoreIfThere(dataDir, context);
  if (disk !== undefined) undo.use(disk);
  const served = embeddedAsServed(inputs.site, { address: options.embedded });
  const embedded = addressOf(
    options.embedded ?? inputs.site.registry.address ?? inputs.site.listen,
  );
  const remote = new Remote({
    ...remoteOptions({ inputs, context, onNotice: () => undefined, onPause: () => undefined }),
    patience: PATIENCE,
    proxy: {},
    confinedTo: [embedded, dialled(embedded), local?.address ?? ""],
  });
  undo.defer(() => remote.close());
  const target = targetOf(planned, options);
  const door = await knock(served, target !== null, remote, signal);
  const isServed = door === "open" || disk === undefined;
  const standIn = isServed ? undefined : undo.use(serveOnLoopback(disk, context.clock)).address;
  const runtime = target && { kind: target.runtime, configDir: target.configDir };
  const nodes = inputs.site.localSettings.nodes ?? (await robotOf(plan, dataDir));
  const images = await readRuntimeImages(target, planned, options, { ...context, signal });
  const heed = target === null ? {} : judgeConfig(target, options.containerdConfig);
  const stack = undo.move();
  return {
    ports: {
      store: disk ?? createMemoryStore(),
      registries: openSiteRegistries({
        ...{ remote, embedded, served, local, nodes },
        ...(standIn === undefined ? {} : { standIn }),
      }),
      names: {
        local: `the local registry ${local?.address ?? ""}`.trimEnd(),
        embedded: `the embedded registry ${embedded}`,
      },
      ...(target === null ? {} : { follow: followerOf(target) }),
      ...(images.find === undefined ? {} : { inRuntime: images.find }),
    },
    state: {
      runtime,
      registries: {
        embedded: { address: embedded, isRunning: door === "open" },
        local: local && { kind: local.kind, address: local.address },
      },
      problems: [
        ...(door === "absent" && target !== null ? [notRunning(embedded)] : []),
        ...(heed.problem === undefined ? [] : [heed.problem]),
        ...(images.problem === undefined ? [] : [images.problem]),
      ],
      notes: [
        ...(door === "absent" && target === null && disk !== undefined
          ? [`the embedded registry is not running at ${embedded}: its store was looked at`]
          : []),
        ...(door === "closed" && disk !== undefined
          ? [
              `the embedded registry at ${embedded} lets in nobody without a login, and no runtime has one: its store was looked at`,
            ]
          : []),
        ...(heed.note === undefined ? [] : [heed.note]),
        ...(images.note === undefined ? [] : [images.note]),
      ],
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function addressOf(text: string): string {
  return text.replace(/^https?:\/\//, "").replace(/\/+$/, "");
}

function targetOf(
  { inputs }: Pick<Planned, "inputs">,
  options: ProvenSiteOptions,
): RuntimeTarget | null {
  const runtime = options.runtime ?? inputs.site.runtime ?? "none";
  if (runtime === "none") return null;
  const configDir = options.configDir ?? inputs.site.runtimeConfigDir ?? defaultConfigDir(runtime);
  return { runtime, configDir: resolve(configDir) };
}

/** `closed`: somebody is there, and no runtime tells how to be let in. */
type Door = "open" | "closed" | "absent";

async function knock(
  served: MirrorOptions["embedded"],
  isRedirected: boolean,
  remote: Remote,
  signal: AbortSignal,
): Promise<Door> {
  const address = served.origin.replace(/^https?:\/\//, "");
  const [, host = "", port = "443"] = /^\[?(.*?)\]?(?::(\d+))?$/.exec(address) ?? [];
  if (!(await isListening({ host, port: Number(port) }))) return "absent";
  // Whoever is redirected has the credential and the certificate in its files.
  if (isRedirected) return "open";
  try {
    const task = "ask the embedded registry";
    const request = { method: "GET", path: "/v2/", task, signal } as const;
    const { status } = await remote.api(address, directAccess(served)).request(request);
    return status === 200 ? "open" : "closed";
  } catch (error) {
    if (isFailure(error)) return "closed";
    throw error;
  }
}

/** Follows the files as they lie there now; each is read once. One that can't be read is a problem of each image. */
function followerOf({ runtime, configDir }: RuntimeTarget): (reference: Reference) => Followed {
  if (runtime !== "containerd") {
    let read: { readonly text: string | undefined } | undefined;
    return (reference) => {
      read ??= { text: readConfigFile(join(configDir, "registries.yaml")) };
      return followRegistriesYaml(reference, read.text);
    };
  }
  const folders = new Map<string, ReturnType<typeof readHostFolder>>();
  const folder = (name: string) => {
    if (!folders.has(name)) folders.set(name, readHostFolder(configDir, name));
    return folders.get(name);
  };
  return (reference) => {
    const followed = followHostsToml(reference, folder);
    const { decidedBy = "" } = followed;
    const beside = join(configDir, decidedBy.endsWith(".toml") ? dirname(decidedBy) : decidedBy);
    const absolute = (name: string) => (isAbsolute(name) ? name : join(beside, name));
    return {
      ...followed,
      endpoints: followed.endpoints.map((endpoint) => ({
        ...endpoint,
        authorities: endpoint.authorities.map(absolute),
      })),
    };
  };
}

/**
 * Whether containerd reads the folder at all. It is sure only where its configuration is whole in one file
 * of a version whose defaults name no folder.
 */
function judgeConfig(
  { runtime, configDir }: RuntimeTarget,
  file: string,
): { readonly problem?: Problem; readonly note?: string } {
  if (runtime !== "containerd") return {};
  let text: string | undefined;
  try {
    text = readConfigFile(file);
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { problem: { code: error.code, message: error.message, remedy: error.hint } };
  }
  const advice = adviseContainerd(text, configDir);
  if (advice === undefined) return {};
  const message = `containerd may not read the mirrors in ${configDir}: in ${file}, ${advice.problem}`;
  const isSure =
    text !== undefined &&
    !/^\s*imports\s*=\s*\[\s*["']/m.test(text) &&
    !/^\s*version\s*=\s*[3-9]/m.test(text);
  if (!isSure) return { note: message };
  const remedy =
    "Run `dray redirect containerd`, which prints the lines to set, and restart containerd";
  return { problem: { code: "mirrors-unread", message, remedy } };
}

function notRunning(embedded: string): Problem {
  return {
    code: "embedded-not-running",
    message: `The embedded registry is not running: nobody listens at ${embedded}, where the runtime is sent`,
    remedy: "Start `dray registry serve` and keep it running",
  };
}

/** What containerd has, where images are loaded into it or its socket was named. */
async function readRuntimeImages(
  target: RuntimeTarget | null,
  { inputs: { site } }: Pick<Planned, "inputs">,
  options: ProvenSiteOptions,
  { clock, signal }: SiteContext & { readonly signal: AbortSignal },
): Promise<{
  readonly find?: NonNullable<ProveOptions["inRuntime"]>;
  readonly problem?: Problem;
  readonly note?: string;
}> {
  const named = options.socket ?? site.runtimeSocket;
  const isLoaded = target?.runtime === "containerd" && site.runtime === "containerd";
  if (named === undefined && !isLoaded) return {};
  const socket = named ?? CONTAINERD_SOCKET;
  try {
    const { find, hasPinning, version } = await listRuntimeImages(socket, clock, signal);
    const note = `containerd ${version} knows no pinning: kubelet may remove images when the disk fills`;
    return {
      find(reference) {
        const image = find(reference);
        return image && { config: image.id, isPinned: hasPinning ? image.isPinned : undefined };
      },
      ...(hasPinning ? {} : { note }),
    };
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { problem: { code: error.code, message: error.message, remedy: error.hint } };
  }
}
