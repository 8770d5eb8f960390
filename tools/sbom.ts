import { createHash } from "node:crypto";
import type { Origin } from "./executable.ts";
import type { BundledPackage } from "./licences.ts";
import { lockedPackage, TARGETS } from "./targets.ts";

/** An executable that the bill of materials is about. */
export interface ShippedFile {
  readonly name: string;
  /** Hex. */
  readonly sha256: string;
}

/**
 * The bill of materials of all executables of a release, as an SPDX 2.3 document
 * (https://spdx.github.io/spdx-spec/v2.3/). The same origin and files give the same bytes.
 */
export function billOfMaterials(
  { version, revision, date }: Origin,
  packages: readonly BundledPackage[],
  executables: readonly ShippedFile[],
): object {
  const bundled = packages.map(npmPackage);
  const shipped = executables.map((file) => shippedPackage(file, version));
  const runtimes = new Map(TARGETS.map(({ name, runtime }) => [name, runtimePackage(runtime)]));
  const contents = executables.flatMap(({ name }) => {
    const runtime = runtimes.get(name);
    return [...bundled, ...(runtime === undefined ? [] : [runtime])].map((content) =>
      relationship(shippedId(name), "CONTAINS", content.SPDXID),
    );
  });
  const identity = createHash("sha256")
    .update(JSON.stringify([version, revision, executables]))
    .digest("hex");
  return {
    spdxVersion: "SPDX-2.3",
    dataLicense: "CC0-1.0",
    SPDXID: "SPDXRef-DOCUMENT",
    name: `drayage-${version}`,
    documentNamespace: `https://spdx.org/spdxdocs/drayage-${encodeURIComponent(version)}-${identity.slice(0, 32)}`,
    creationInfo: {
      created: date.toISOString().replace(/\.\d+Z$/, "Z"),
      creators: ["Organization: Drayage", "Tool: tools/sbom.ts"],
    },
    packages: [...shipped, ...bundled, ...runtimes.values()],
    relationships: [
      ...shipped.map(({ SPDXID }) => relationship("SPDXRef-DOCUMENT", "DESCRIBES", SPDXID)),
      ...contents,
    ],
  };
}

function relationship(from: string, relationshipType: string, to: string) {
  return { spdxElementId: from, relationshipType, relatedSpdxElement: to };
}

function shippedId(name: string): string {
  return `SPDXRef-Executable-${name}`;
}

function shippedPackage({ name, sha256 }: ShippedFile, version: string) {
  return {
    SPDXID: shippedId(name),
    name,
    versionInfo: version,
    packageFileName: name,
    primaryPackagePurpose: "APPLICATION",
    downloadLocation: "NOASSERTION",
    filesAnalyzed: false,
    checksums: [{ algorithm: "SHA256", checksumValue: sha256 }],
    licenseConcluded: "NOASSERTION",
    licenseDeclared: "Apache-2.0",
    copyrightText: "NOASSERTION",
    externalRefs: [purl(`pkg:generic/${name}@${encodeURIComponent(version)}`)],
  };
}

function npmPackage({ name, version, integrity, license }: BundledPackage) {
  return {
    SPDXID: `SPDXRef-Package-${name.replaceAll(/[^A-Za-z0-9.-]/g, "-")}-${version}`,
    name,
    versionInfo: version,
    primaryPackagePurpose: "LIBRARY",
    downloadLocation: `https://registry.npmjs.org/${name}/-/${name.split("/").at(-1)}-${version}.tgz`,
    filesAnalyzed: false,
    checksums: [{ algorithm: "SHA512", checksumValue: hexOf(integrity) }],
    licenseConcluded: "NOASSERTION",
    licenseDeclared: license,
    copyrightText: "NOASSERTION",
    externalRefs: [purl(`pkg:npm/${name.replace("@", "%40")}@${version}`)],
  };
}

/** Bun for one machine. Its package declares MIT; what Bun links is in LICENSES.txt. */
function runtimePackage(name: string) {
  return npmPackage({ name, licenceText: "", license: "MIT", ...lockedPackage(name) });
}

function purl(referenceLocator: string) {
  return { referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator };
}

/** `sha512-BASE64` of package-lock.json, as SPDX writes digests. */
function hexOf(integrity: string): string {
  const [, base64] = /^sha512-([A-Za-z0-9+/]{86}==)$/.exec(integrity) ?? [];
  if (base64 === undefined) throw new Error(`Cannot read the digest ${integrity}: expected sha512`);
  return Buffer.from(base64, "base64").toString("hex");
}
