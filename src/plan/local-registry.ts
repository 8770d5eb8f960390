import { type Findings, type Place, quoted } from "#base";
import { type ClusterInputs, DEFAULT_PROJECT } from "#profile";
import { formatLocation, formatReference, prependRegistry, tryParseLocation } from "#reference";
import type { DockerCredentials } from "./access.ts";
import { type DeclaredImage, isBootstrapImage } from "./image.ts";
import { decideLocalAccess, tell } from "./local-access.ts";
import type { PlanRegistries, Reason } from "./plan.ts";
import { portNote } from "./source.ts";

type LocalRegistry = NonNullable<PlanRegistries["local"]>;

/** The local registry: the site file's word if it says anything, else what the packs declare. */
export function decideLocalRegistry(
  inputs: ClusterInputs,
  docker: DockerCredentials,
  findings: Findings,
): LocalRegistry | null {
  const { site, packedRegistry } = inputs;
  const kind = site.localRegistry?.kind ?? packedRegistry?.kind ?? "none";
  if (kind === "none") return null;
  const unclear = kind === "embedded" ? undefined : packedRegistry?.unclear;
  if (site.localRegistry?.address === undefined) tell(unclear?.port ?? [], findings);
  if (site.localRegistry?.project === undefined) tell(unclear?.project ?? [], findings);
  const written = decideAddress(kind, inputs, findings);
  const project = site.localRegistry?.project ?? packedRegistry?.project ?? DEFAULT_PROJECT;
  const address = isPlace(written, project) ? written : null;
  if (address !== written) reportNoPlace(`${written}/${project}`, inputs, findings);
  const access = decideLocalAccess({ kind, address, project }, inputs, docker, findings);
  const { indexes } = site.localSettings;
  return {
    kind,
    address,
    project,
    indexes,
    authenticated: access.credential !== undefined,
    access,
  };
}

function isPlace(address: string | null, project: string): boolean {
  return address === null || tryParseLocation(`${address}/${project}`) !== undefined;
}

function reportNoPlace(
  place: string,
  { site, packedRegistry }: ClusterInputs,
  findings: Findings,
): void {
  findings.fault(
    site.localRegistry?.place ?? packedRegistry?.place ?? NOWHERE,
    "local-registry-invalid",
    `Cannot use the local registry: ${quoted(place)} is no place for images, expected host:port/project`,
    "Set localRegistry.address to the host:port that nodes dial, and localRegistry.project to lower-case letters, digits and dashes",
  );
}

const NOWHERE: Place = { file: "", line: 1, column: 1, path: "" };

function decideAddress(
  kind: LocalRegistry["kind"],
  inputs: ClusterInputs,
  findings: Findings,
): string | null {
  const { site, packedRegistry } = inputs;
  if (site.localRegistry?.address !== undefined) return formatLocation(site.localRegistry.address);
  if (kind === "embedded") return site.listen;
  if (packedRegistry !== undefined) {
    const address = `127.0.0.1:${packedRegistry.port}`;
    findings.warn(
      packedRegistry.place,
      "local-address-assumed",
      `The profile declares a local registry (${packedRegistry.packNames.join(", ")}) and nothing says its address, so ${address} is assumed`,
      "Set localRegistry.address in the site file to the host:port that nodes dial",
    );
    return address;
  }
  findings.fault(
    site.localRegistry?.place ?? NOWHERE,
    "local-address-missing",
    `Cannot use the local registry: localRegistry.kind is ${kind}, and it has no address, expected one`,
    "Set localRegistry.address to the host:port that nodes dial",
  );
  return null;
}

/** The image's name in the local registry, or null, with the rules that say so. */
export function decideUpload(
  image: DeclaredImage,
  local: LocalRegistry | null,
): { readonly local: string | null; readonly because: readonly Reason[] } {
  if (local === null || !image.isApplication || image.category === "provider")
    return { local: null, because: [] };
  if (isBootstrapImage(image)) {
    const text =
      "It belongs to the local registry itself, so it must not depend on it: not uploaded, not redirected to it";
    return { local: null, because: [{ rule: "bootstrap", text }] };
  }
  if (local.address === null) return { local: null, because: [] };
  const name = formatReference(
    prependRegistry(image.reference, { domain: local.address, path: local.project }),
  );
  return {
    local: name,
    because: [
      {
        rule: "local-upload",
        text: `An application pack declares it, so it is uploaded to the local registry as ${name}${portNote(image.reference)}${indexNote(local)}`,
      },
      {
        rule: "local-serve",
        text: `From then on the local registry ${local.address} answers the cluster for it`,
      },
    ],
  };
}

/** What becomes of an index of which only some platforms are here, and of its digest. */
function indexNote({ kind, indexes }: LocalRegistry): string {
  if (kind === "embedded") return "; that is a name in the store and moves no byte";
  return indexes === "complete"
    ? "; if it refuses an index with absent platforms, they are fetched too, and all digests stay (localRegistry.indexes: complete)"
    : "; if it refuses an index with absent platforms, the one platform goes under that name, and pulls by the index's digest are answered by the embedded registry only (localRegistry.indexes: one-platform)";
}
