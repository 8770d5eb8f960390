import { type Findings, type Place, quoted, Secret } from "#base";
import { formatReference } from "#reference";
import { type DeclaredRegistry, readLocation, warnIncomplete } from "./declared-credential.ts";
import type { Node } from "./document.ts";
import type { Pack } from "./pack.ts";
import { type PlacedReference, readDeclaredImages } from "./pack-content.ts";
import { readMap, readText, reportUnknownKeys } from "./reader.ts";
import { findDotted, type TemplateScope } from "./scope.ts";
import { maskedPlace, readCertificates } from "./sensitive.ts";
import { readReferenceNode } from "./wanted.ts";

/** What the OS pack says of the provider image: where it is, and who may fetch it. */
export interface OsPack {
  /** Undefined when it can't be told; a fault says why. */
  readonly provider: PlacedReference | undefined;
  readonly credentials: DeclaredRegistry | undefined;
  /** What its content lists beside the provider image. */
  readonly otherImages: readonly PlacedReference[];
}

const CREDENTIAL_KEYS = ["registry", "user", "password", "certificates"] as const;

/**
 * Reads the OS pack: `options.system.uri` (a flat key with a dot, or nested), or without it the one
 * image of `pack.content.images`; and `providerCredentials`.
 */
export function readOsPack(pack: Pack, scope: TemplateScope, findings: Findings): OsPack {
  const images = readDeclaredImages(pack, scope, findings);
  const uri =
    pack.values === undefined ? undefined : findDotted(pack.values, ["options", "system", "uri"]);
  const credentials = readProviderCredentials(pack, scope, findings);
  if (uri !== undefined && readText(uri, findings) !== undefined) {
    const reference = readReferenceNode(uri, scope, findings);
    if (reference === undefined) return { provider: undefined, credentials, otherImages: images };
    // The content list names it by template, which declares nothing that the location does not.
    const name = formatReference(reference);
    const otherImages = images.filter((image) => formatReference(image.reference) !== name);
    return { provider: { reference, place: uri.declaredAt }, credentials, otherImages };
  }
  const [only, ...others] = images;
  if (only !== undefined && others.length === 0)
    return { provider: only, credentials, otherImages: [] };
  reportMissingLocation(pack, images.length, findings);
  return { provider: undefined, credentials, otherImages: images };
}

function reportMissingLocation(pack: Pack, count: number, findings: Findings): void {
  findings.fault(
    pack.place,
    "provider-location-missing",
    `OS pack ${quoted(pack.name)} does not say where the provider image is: it has no options.system.uri and ${count} images in pack.content.images, expected the one or exactly one image`,
    "Set options.system.uri in the values of the OS pack to the provider image's reference",
  );
}

function readProviderCredentials(
  pack: Pack,
  scope: TemplateScope,
  findings: Findings,
): DeclaredRegistry | undefined {
  const node = readMap(pack.values?.get("providerCredentials"), findings);
  if (node === undefined) return undefined;
  reportUnknownKeys(node, CREDENTIAL_KEYS, findings, "warning");
  const given = (key: string): Node | undefined => {
    const child = node.get(key);
    return readText(child, findings) === undefined ? undefined : child;
  };
  const filledIn = (child: Node | undefined) => {
    return child === undefined ? undefined : scope.resolveSecret(child)?.trim() || undefined;
  };
  const [registryNode, userNode, passwordNode] = ["registry", "user", "password"].map(given);
  const registry =
    registryNode === undefined ? undefined : scope.resolve(registryNode)?.trim() || undefined;
  const [username, password] = [filledIn(userNode), filledIn(passwordNode)];
  const certificates = readCertificates(node.get("certificates"), findings);
  if (registry === undefined) {
    if (username !== undefined || password !== undefined)
      reportMissingRegistry(node.place, findings);
    return undefined;
  }
  const location =
    registryNode === undefined ? undefined : readLocation(registryNode, registry, findings);
  if (location === undefined) return undefined;
  warnIncomplete(userNode, passwordNode, findings);
  return {
    origin: "os-pack:providerCredentials",
    location,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password: new Secret(password) }),
    maskedAt: maskedPlace(passwordNode, password) ?? maskedPlace(userNode, username),
    insecure: false,
    certificates,
    place: registryNode?.place ?? node.place,
  };
}

function reportMissingRegistry(place: Place, findings: Findings): void {
  findings.fault(
    place,
    "provider-credentials-without-registry",
    "Cannot use providerCredentials: user or password is there, but no registry",
    "Set providerCredentials.registry to the host of the provider image",
  );
}
