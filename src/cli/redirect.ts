import { resolve } from "node:path";
import { type Finding, Findings, isFailure, quoted } from "#base";
import type { Site } from "#profile";
import {
  endpointUrl,
  isLoopback,
  type MirrorOptions,
  type NodeCredential,
  type RuntimeKind,
} from "#redirect";
import { applyEdits } from "#runtime";
import {
  defaultConfigDir,
  embeddedAsServed,
  openStoreIfThere,
  type Planned,
  planRedirection,
  type Redirection,
  restoredFiles,
} from "#site";
import type { DiskStore } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { readNamedFile, readPasswordFile } from "./named-files.ts";
import { type OutputFormat, planOrRefuse } from "./plan.ts";
import { planFor } from "./plan-for.ts";
import type { PlanOptions } from "./plan-options.ts";
import { formatFindings } from "./report.ts";
import { usage } from "./usage.ts";

/** The words of `dray redirect` on the command line. */
export interface RedirectOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly configDir?: string;
  readonly containerdConfig: string;
  readonly dataDir?: string;
  readonly dryRun?: boolean;
  readonly remove?: boolean;
  readonly via: MirrorOptions["via"];
  /** URL, or host:port, of the embedded registry as nodes dial it. */
  readonly embedded?: string;
  readonly embeddedCa?: string;
  readonly embeddedUser?: string;
  readonly embeddedPasswordFile?: string;
}

/** `dray redirect`: tells a runtime to ask the site for the images of the profile. */
export async function runRedirect(
  runtime: RuntimeKind,
  options: RedirectOptions,
  context: CliContext,
): Promise<ExitCode> {
  refuseClash(runtime, options);
  const findings = new Findings();
  if (options.remove === true) {
    // What is wrong with the plan is no reason to leave files as they are.
    const site =
      options.site === undefined ? undefined : (await planFor(options, context)).inputs.site;
    const target = { runtime, configDir: configDirOf(runtime, options, site) };
    const files = restoredFiles(target, findings);
    return finish({ ...target, ...NOTHING, files }, options, findings, context);
  }
  const planned = await planOrRefuse(options, context);
  if (planned === undefined) return EXIT.refused;
  const target = { runtime, configDir: configDirOf(runtime, options, planned.inputs.site) };
  const nothing = { ...target, ...NOTHING };
  if (isSwitchedOff(planned, findings))
    return finish({ ...nothing, isOff: true }, options, findings, context);
  const { site } = planned.inputs;
  const { via, containerdConfig } = options;
  const embedded = embeddedRegistry(options, site, context, findings);
  const dataDir = resolve(options.dataDir ?? site.dataDir);
  await using store = await openReadableStore(dataDir, context, findings);
  const how = { ...target, via, containerdConfig, embedded, dataDir, store };
  const redirection = await planRedirection(planned, how, findings);
  return finish({ ...nothing, ...redirection }, options, findings, context);
}

const NOTHING = { mirrors: [], files: [], advice: [], isOff: false };

/** The folder that the site file names is that of its own runtime. */
function configDirOf(runtime: RuntimeKind, { configDir }: RedirectOptions, site?: Site): string {
  const named = site?.runtime === runtime ? site.runtimeConfigDir : undefined;
  return resolve(configDir ?? named ?? defaultConfigDir(runtime));
}

function refuseClash(runtime: RuntimeKind, { via, profile, site, remove }: RedirectOptions): void {
  if (via === "external" && runtime === "containerd") {
    throw usage(
      "Cannot redirect containerd to the external registry alone: it knows no rewrites",
      "Leave --via out: what containerd can't say goes through the embedded registry",
    );
  }
  if (remove !== true && profile === undefined && site === undefined) {
    throw usage(
      "Cannot redirect without a profile: its images say which registries need a mirror",
      "Add --profile FILE or --site FILE, or --remove to take the mirrors away",
    );
  }
}

/** Without a store only the hosts of core images are not known; who looks at a dry run may not read it. */
async function openReadableStore(
  dataDir: string,
  context: CliContext,
  findings: Findings,
): Promise<DiskStore | undefined> {
  try {
    return await openStoreIfThere(dataDir, context);
  } catch (error) {
    if (!isFailure(error)) throw error;
    const { code, message, hint } = error;
    const lacking = `${message}; the hosts of core images are not known without it, and get no mirror`;
    warn(findings, code, lacking, hint);
    return undefined;
  }
}

/** The user data may switch redirection off; a runtime that the site file names is redirected all the same. */
function isSwitchedOff({ inputs }: Planned, findings: Findings): boolean {
  const { redirectOffAt } = inputs.userData;
  if (redirectOffAt === undefined || inputs.site.runtime !== undefined) return false;
  findings.warn(
    redirectOffAt,
    "redirect-off",
    "imageRedirectWebhook.enable is false, so no runtime is redirected and nothing was written",
    "Set runtime.kind in the site file to redirect all the same, or use --remove to take mirrors away",
  );
  return true;
}

/** The embedded registry as nodes dial it: as the site file has it served, unless the command line says otherwise. */
function embeddedRegistry(
  options: RedirectOptions,
  site: Site,
  context: CliContext,
  findings: Findings,
): MirrorOptions["embedded"] {
  const { embedded: address, embeddedCa } = options;
  const served = embeddedAsServed(site, {
    address,
    certificates: embeddedCa === undefined ? undefined : [readPem(embeddedCa, context)],
    credential: embeddedCredential(options, context),
  });
  const [, scheme, host = ""] = /^(https?):\/\/(.*)$/.exec(served.origin) ?? [];
  if (scheme === "http" && !isLoopback(host)) {
    warn(
      findings,
      "redirect-plain-http",
      `Nodes would ask the embedded registry ${host} by plain http, where anybody between may change images`,
      "Serve it with --tls-cert and --tls-key, and name it with --embedded https://HOST:PORT",
    );
  }
  return served;
}

function embeddedCredential(
  { embeddedUser: username, embeddedPasswordFile: file }: RedirectOptions,
  context: CliContext,
): NodeCredential | undefined {
  if (username === undefined && file === undefined) return undefined;
  if (username === undefined || file === undefined) {
    throw usage(
      "Cannot log nodes in to the embedded registry: --embedded-user and --embedded-password-file were expected together, and one is missing",
      "Give both",
    );
  }
  return { username, password: readPasswordFile(file, context) };
}

function readPem(file: string, context: CliContext): string {
  const blocks = readNamedFile(file, "the certificates", context).match(
    /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g,
  );
  if (blocks !== null) return blocks.join("\n");
  throw usage(
    `Cannot read the certificates in ${quoted(file)}: it is no PEM, expected -----BEGIN CERTIFICATE-----`,
    "Give a file with one or more PEM certificates; convert DER with: openssl x509 -inform der",
  );
}

/** What a run found and is about to do. */
interface Found extends Redirection {
  readonly runtime: RuntimeKind;
  readonly configDir: string;
  readonly isOff: boolean;
}

/** Writes if all is well, and answers. With a fault in any file nothing is written at all. */
function finish(
  redirection: Found,
  options: RedirectOptions,
  findings: Findings,
  context: CliContext,
): ExitCode {
  const { faults, warnings } = findings;
  const isWritten = faults.length === 0 && options.dryRun !== true;
  if (isWritten) applyEdits(redirection.files.map(({ edit }) => edit));
  const isJson = options.output === "json";
  if (isJson) context.out(formatJson(redirection, options, faults, warnings));
  else if (faults.length === 0) context.out(formatText(redirection, options));
  context.err(formatFindings(faults, isJson ? [] : warnings));
  return faults.length > 0 ? EXIT.refused : EXIT.done;
}

function formatJson(
  { runtime, configDir, mirrors, files, advice, isOff }: Found,
  { dryRun = false }: RedirectOptions,
  faults: readonly Finding[],
  warnings: readonly Finding[],
): string {
  const document = {
    ...{ apiVersion: "drayage/v1", kind: "Redirection", runtime, configDir, dryRun },
    isOff,
    mirrors: mirrors.map(({ host, endpoints, rewrites }) => ({
      host,
      endpoints: endpoints.map((endpoint) => ({ role: endpoint.role, url: endpointUrl(endpoint) })),
      rewrites: Object.fromEntries(rewrites),
    })),
    files: files.map(({ edit, change, diff }) => ({
      ...{ path: edit.path, change },
      ...(dryRun ? { diff } : {}),
    })),
    ...{ advice, warnings, faults },
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function formatText(
  { mirrors, files, advice, isOff }: Found,
  { dryRun = false, remove = false }: RedirectOptions,
): string {
  if (isOff) return "Redirection is switched off: nothing was written\n";
  const changed = files.filter(({ change }) => change !== "unchanged");
  const told = changed.map(({ edit, change, diff }) =>
    dryRun ? diff : `${change} ${edit.path}\n`,
  );
  const hosts = remove ? "" : `Mirrors for ${count(mirrors.length, "registry", "registries")}`;
  const files_ = `${count(changed.length, "file", "files")} ${dryRun ? "would change" : "changed"}`;
  const summary = [hosts, files_].filter((text) => text !== "").join(": ");
  const next = advice.flatMap(({ text, lines }) => [
    `next: ${text}`,
    ...lines.map((line) => (line === "" ? "" : `    ${line}`)),
  ]);
  return [...told, ...[summary, ...next].map((line) => `${line}\n`)].join("");
}

function count(n: number, one: string, many: string): string {
  return `${n} ${n === 1 ? one : many}`;
}

function warn(findings: Findings, code: string, message: string, remedy: string): void {
  findings.warn({ file: "", line: 1, column: 1, path: "" }, code, message, remedy);
}
