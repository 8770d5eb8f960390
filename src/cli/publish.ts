import { resolve } from "node:path";
import { Failure, type Finding, Findings, formatBytes, printable, quoted } from "#base";
import { fetchVerified } from "#content";
import { decideSiteAccess } from "#plan";
import { type InputFiles, readClusterInputs, reportSecrets } from "#profile";
import { parseReference, type Reference, tagOrDigest } from "#reference";
import { Remote } from "#remote";
import { type Planned, remoteOptions } from "#site";
import {
  artifactFiles,
  artifactLocation,
  type CollectedInputs,
  collectInputs,
  formatArtifactAddress,
  type SiteArtifact,
  type WrittenArtifact,
  writeArtifact,
} from "#steering";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type OutputFormat, planJson } from "./plan.ts";
import { planFor } from "./plan-for.ts";
import type { PlanOptions } from "./plan-options.ts";
import { formatFindings } from "./report.ts";
import { usage } from "./usage.ts";

/** The words of `dray publish` on the command line. */
export interface PublishOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly to: string;
  /** Of the artifact, for people. */
  readonly version?: string;
  /** RFC 3339. */
  readonly created?: string;
  readonly dryRun?: boolean;
}

/**
 * `dray publish`: makes one artifact of the inputs of a site and pushes it, for sites to follow by its tag.
 * Inputs that can't be planned from, that hold secrets, or that lack a file they name, are refused.
 */
export async function runPublish(options: PublishOptions, context: CliContext): Promise<ExitCode> {
  const { profile: profiles = [], userData } = options;
  if (profiles.length === 0) throw noProfile();
  const reference = readTarget(options.to);
  const names = { profiles, ...(userData === undefined ? {} : { userData }) };
  const collected = collectInputs(names, context.files, (name) => resolve(name));
  const planned = await planFor(options, context);
  const faults = [...faultsOf(planned), ...secretsIn(collected)];
  context.err(formatFindings([], planned.plan.warnings.filter(isOfInputs)));
  if (faults.length > 0) return refuse(planned, faults, options, context);
  const created = createdAt(options, context);
  const artifact = writeArtifact(collected.files, {
    ...(options.version === undefined ? {} : { version: options.version }),
    ...(created === undefined ? {} : { created }),
  });
  const missing = missingIn(artifact, reference);
  if (missing.length > 0) return refuse(planned, missing, options, context);
  const bytesSent =
    options.dryRun === true ? null : await push(artifact, reference, planned, context);
  answer(artifact, reference, bytesSent, options, context);
  return EXIT.done;
}

/** A tag is what sites follow, so there is one; `latest` where none is written. */
function readTarget(text: string): Reference {
  const reference = parseReference(text);
  if (reference.digest === undefined) return reference;
  throw usage(
    `Cannot publish to ${quoted(text)}: it has a digest, expected a tag`,
    "Write it like registry.example.com/sites/store:1.4.0; the digest is what publishing gives",
  );
}

function noProfile(): Failure {
  return usage(
    "Cannot publish: no cluster profile is given",
    "Name each file with --profile FILE; what the site file lists belongs to that site",
  );
}

/** What a mask stands for is given on each site, so it is no fault of what they share. */
function faultsOf({ plan }: Planned): readonly Finding[] {
  return plan.faults.filter(({ code }) => code !== "secret-masked");
}

/** A credential that is for the push fits no image. */
function isOfInputs({ code }: Finding): boolean {
  return code !== "credential-unused";
}

function secretsIn({ files, names }: CollectedInputs): readonly Finding[] {
  const findings = new Findings();
  const named = files.map(({ path, bytes }) => ({ name: names.get(path) ?? path, bytes }));
  reportSecrets(named, findings);
  return findings.faults;
}

/** The artifact is read as a site will read it, so that a file that was left behind is found here. */
function missingIn(artifact: WrittenArtifact, reference: Reference): readonly Finding[] {
  const site = asFetched(artifact, reference);
  const findings = new Findings();
  readClusterInputs({ profiles: [site.address] }, artifactFiles(NO_FILES, [site]), findings);
  return findings.faults.filter(({ code }) => code.startsWith("input-"));
}

const ABSENT = { code: "input-missing", message: "it is not in the artifact" } as const;
const NO_FILES: InputFiles = { read: () => ABSENT, list: () => ABSENT };

function asFetched(
  { manifest, blobs, files }: WrittenArtifact,
  reference: Reference,
): SiteArtifact {
  const contents = new Map(blobs.map((blob) => [blob.descriptor.digest, blob]));
  const [config] = blobs;
  if (config === undefined) throw new Error("Broken assertion: an artifact has a config");
  return {
    address: formatArtifactAddress(reference),
    location: artifactLocation(reference, manifest.descriptor.digest),
    name: "",
    ...{ manifest, config },
    files: files.flatMap(({ path, role, descriptor }) => {
      const blob = contents.get(descriptor.digest);
      return blob === undefined ? [] : [{ path, role, ...blob }];
    }),
  };
}

function refuse(
  { plan }: Planned,
  faults: readonly Finding[],
  { output }: PublishOptions,
  context: CliContext,
): ExitCode {
  context.err(formatFindings(faults, []));
  if (output === "json") context.out(planJson({ ...plan, faults }));
  return EXIT.refused;
}

/** Without either the artifact has no time, and the same inputs have the same digest. */
function createdAt({ created }: PublishOptions, { env }: CliContext): string | undefined {
  const epoch = env["SOURCE_DATE_EPOCH"];
  if (created !== undefined || epoch === undefined || epoch === "") return created;
  const seconds = /^\d{1,11}$/.test(epoch) ? Number(epoch) : Number.NaN;
  if (Number.isNaN(seconds)) {
    throw usage(
      `Cannot use SOURCE_DATE_EPOCH ${quoted(epoch, 40)}: expected seconds since 1970`,
      "Set it to a number, or unset it; --created says the time in words",
    );
  }
  return new Date(seconds * 1_000).toISOString().replace(".000Z", "Z");
}

/**
 * Blobs first, then the manifest with its tag; then what the tag stands for is asked, and read back.
 *
 * @returns bytes of files that were sent; what the registry had is not sent again
 */
async function push(
  { manifest, blobs }: WrittenArtifact,
  reference: Reference,
  { inputs, docker }: Planned,
  context: CliContext,
): Promise<number> {
  const { signal } = context;
  const remote = new Remote(
    remoteOptions({
      ...{ inputs, context },
      onNotice: ({ registry, message }) =>
        context.err(`warning: ${printable(registry)}: ${message}\n`),
      onPause: () => undefined,
    }),
  );
  try {
    const target = remote.target(reference, decideSiteAccess(reference, inputs, docker));
    let bytesSent = 0;
    for (const { descriptor, bytes } of blobs) {
      const content = {
        fetch: async (_: unknown, { range }: { range?: { start: number; end: number } }) =>
          new Blob([new Uint8Array(bytes.subarray(range?.start, range?.end))]).stream(),
      };
      const pushed = await target.pushBlob(descriptor, content, { signal });
      bytesSent += pushed.bytesSent;
    }
    const { descriptor } = manifest;
    const tag = tagOrDigest(reference);
    await target.pushManifest(descriptor, manifest.bytes, { signal, tag });
    const { digest } = await target.resolve(tag, { signal });
    if (digest !== descriptor.digest) throw movedMeanwhile(reference, digest, descriptor.digest);
    await fetchVerified(target, descriptor, { signal });
    return bytesSent;
  } finally {
    remote.close();
  }
}

function movedMeanwhile(reference: Reference, found: string, expected: string): Failure {
  return new Failure({
    code: "artifact-moved",
    message: `Cannot confirm ${formatArtifactAddress(reference)}: its tag stands for ${found}, expected ${expected}`,
    hint: "Somebody else pushed to this tag at the same time: agree on who publishes, then run it again",
  });
}

function answer(
  { manifest, files }: WrittenArtifact,
  reference: Reference,
  bytesSent: number | null,
  { output, version }: PublishOptions,
  { out }: CliContext,
): void {
  const { digest } = manifest.descriptor;
  const address = formatArtifactAddress(reference);
  if (output === "json") {
    const document = {
      ...{ apiVersion: "drayage/v1", kind: "Published", address, digest },
      version: version ?? null,
      files: files.map(({ path, role, descriptor }) => ({
        ...{ path, role, digest: descriptor.digest, size: descriptor.size },
      })),
      ...{ pushed: bytesSent !== null, bytesSent: bytesSent ?? 0 },
    };
    out(`${JSON.stringify(document, null, 2)}\n`);
    return;
  }
  const bytes = files.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const done = bytesSent === null ? "Would publish" : `Published (${formatBytes(bytesSent)} sent)`;
  const width = Math.max(...files.map(({ role }) => role.length));
  out(
    [
      ...files.map(
        ({ path, role, descriptor }) =>
          `  ${role.padEnd(width)}  ${printable(path)}  ${formatBytes(descriptor.size)}`,
      ),
      `${done}: ${address}`,
      `  ${digest}, ${files.length} files, ${formatBytes(bytes)}`,
      `  a site follows it with: profiles: [${address}]`,
      "",
    ].join("\n"),
  );
}
