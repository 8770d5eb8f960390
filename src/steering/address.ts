import { Failure, quoted } from "#base";
import { formatReference, type Reference, readReference, repositoryName } from "#reference";

const SCHEME = /^oci:\/\//i;

/**
 * Reads `oci://registry/repository:tag` or `…@sha256:…`.
 *
 * @throws {Failure} `reference-invalid`
 */
export function parseArtifactAddress(address: string): Reference {
  const bare = address.replace(SCHEME, "");
  const reference = readReference(bare);
  // Without a registry it would be Docker Hub's, which nobody means who writes an address.
  const isRegistryWritten =
    "domain" in reference && bare.toLowerCase().startsWith(reference.domain);
  if ("domain" in reference && isRegistryWritten) return reference;
  const problem = "domain" in reference ? "it names no registry" : reference.message;
  throw new Failure({
    code: "reference-invalid",
    message: `Cannot read the address ${quoted(address)}: ${problem}, expected oci://registry/repository:tag`,
    hint: 'Write it like "oci://registry.example.com/sites/store:stable"',
  });
}

/** The name of an artifact in a store: its reference, as images have theirs. */
export function artifactName(reference: Reference): string {
  return formatReference(reference);
}

/** What findings call the root of an artifact: `oci://registry/repository@sha256:…`. */
export function artifactLocation(reference: Reference, digest: string): string {
  return `oci://${repositoryName(reference)}@${digest}`;
}

/** As a person writes it. */
export function formatArtifactAddress(reference: Reference): string {
  return `oci://${formatReference(reference)}`;
}
