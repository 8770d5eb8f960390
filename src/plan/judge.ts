import type { Findings, Place } from "#base";
import { type ClusterInputs, type DeclaredRegistry, isAuthenticated } from "#profile";
import {
  contains,
  formatLocation,
  formatReference,
  longestMatch,
  readReference,
  tryParseLocation,
} from "#reference";
import type { DeclaredImage } from "./image.ts";
import type { PlannedImage, PlanRegistries } from "./plan.ts";

/** The checks that look at the plan as a whole. Each adds its findings. */

/** `providerCredentials.registry` must be where the provider image is (rule `provider-credentials`). */
export function judgeProviderRegistry(
  images: readonly DeclaredImage[],
  { providerCredentials }: ClusterInputs,
  findings: Findings,
): void {
  const provider = images.find(({ category }) => category === "provider");
  if (provider === undefined || providerCredentials === undefined) return;
  if (contains(providerCredentials.location, provider.reference)) return;
  findings.fault(
    providerCredentials.place,
    "provider-registry-mismatch",
    `providerCredentials.registry is ${formatLocation(providerCredentials.location)}, but options.system.uri names the provider image at ${provider.name}`,
    `Set providerCredentials.registry to ${provider.reference.domain}, or options.system.uri to an image in ${formatLocation(providerCredentials.location)}`,
  );
}

/** A mask in place of a password is of no use, unless the site file supplies what it hides. */
export function judgeMasks(inputs: ClusterInputs, findings: Findings): void {
  const { userData, providerCredentials, registrySecrets, site } = inputs;
  const declared = [
    ...userData.externals,
    ...registrySecrets,
    ...(providerCredentials === undefined ? [] : [providerCredentials]),
  ];
  for (const { isMasked, location, place, origin } of declared) {
    const supplied = longestMatch(site.credentials.filter(isAuthenticated), location);
    if (!isMasked || supplied !== undefined) continue;
    findings.fault(
      place,
      "secret-masked",
      `The password of ${origin} for ${formatLocation(location)} is masked, as exports leave it`,
      `Supply it in the site file: credentials: [{registry: ${formatLocation(location)}, username: …, passwordFile: …}]`,
    );
  }
}

/** What a rewrite makes must be a name again, and no two images may end up as one. */
export function judgeSources(images: readonly PlannedImage[], findings: Findings): void {
  const bySource = new Map<string, PlannedImage>();
  for (const image of images) {
    const source = formatReference(image.source);
    const place = placeOf(image);
    const problem = readReference(source);
    if (!("domain" in problem)) {
      findings.fault(
        place,
        "rewrite-invalid",
        `Cannot rewrite ${formatReference(image.declared)}: ${source} is no reference, ${problem.message}`,
        "Add a registryMappingRules entry for it that gives a valid name",
      );
    }
    const other = bySource.get(source);
    bySource.set(source, image);
    if (other === undefined) continue;
    if (image.declared.digest !== undefined && image.declared.digest === other.declared.digest)
      continue;
    const otherPlace = placeOf(other);
    findings.fault(
      place,
      "source-collision",
      `${formatReference(other.declared)} (${otherPlace.file}:${otherPlace.line}) and ${formatReference(image.declared)} would both be fetched as ${source}`,
      "Set rewrite: prepend in the site file, or give one of them a registryMappingRules entry of its own",
    );
  }
}

function placeOf(image: PlannedImage): Place {
  return image.at[0] ?? { file: "", line: 1, column: 1, path: "" };
}

/** Credentials that nothing will be fetched with: a typo, or a leftover. */
export function warnUnusedCredentials(
  inputs: ClusterInputs,
  used: ReadonlySet<DeclaredRegistry>,
  local: PlanRegistries["local"],
  findings: Findings,
): void {
  const { userData, registrySecrets, site, providerCredentials } = inputs;
  const localAddress = local?.address == null ? undefined : tryParseLocation(local.address);
  for (const declared of [...userData.externals, ...registrySecrets, ...site.credentials]) {
    const isForLocal = localAddress !== undefined && contains(declared.location, localAddress);
    if (used.has(declared) || isForLocal || !isAuthenticated(declared)) continue;
    findings.warn(
      declared.place,
      "credential-unused",
      `${declared.origin} for ${formatLocation(declared.location)} fits no image`,
      "Check the registry's name, or take the credential out",
    );
  }
  if (
    providerCredentials === undefined ||
    !isAuthenticated(providerCredentials) ||
    used.has(providerCredentials)
  )
    return;
  if (userData.externals.length === 0) return;
  findings.warn(
    providerCredentials.place,
    "credential-unused",
    "providerCredentials are not used: the external registry serves the provider image too",
    "Take them out, or set combinations: extended to fetch provider images from the provider registry",
  );
}

/** Things that are allowed and that will surprise somebody. */
export function warnSurprises(
  inputs: ClusterInputs,
  local: PlanRegistries["local"],
  findings: Findings,
): void {
  const { userData, site, alwaysPullPlaces, swapDisabledPlaces } = inputs;
  for (const place of local === null && userData.externals.length === 0 ? [] : alwaysPullPlaces) {
    findings.warn(
      place,
      "always-pull-images",
      "AlwaysPullImages is on, so every start of a pod asks the registry that its image names, and fails when the link is down",
      "Take AlwaysPullImages out of enable-admission-plugins",
    );
  }
  for (const place of swapDisabledPlaces) {
    findings.warn(
      place,
      "imageswap-disabled",
      "stylus.io/imageswap=disable keeps redirection from a namespace, but runtime mirrors know no namespaces, so its images are redirected all the same",
      "Take the label out if that is right; else pull its images by another name",
    );
  }
  if (!userData.isRedirectEnabled && site.runtime === undefined && local !== null) {
    findings.warn(
      { file: "", line: 1, column: 1, path: "stylus.imageRedirectWebhook.enable" },
      "redirection-off",
      "imageRedirectWebhook.enable is false, so no runtime is redirected to the local registry",
      "Write runtime.kind in the site file to have it redirected",
    );
  }
}

/** Images that a pack's manifests run and that no pack declares: the cluster will look for them in vain. */
export function warnUndeclaredImages(
  images: readonly DeclaredImage[],
  { manifestImages }: ClusterInputs,
  findings: Findings,
): void {
  const declared = new Set(images.map(({ name }) => name));
  const told = new Set<string>();
  for (const { reference, place, pack } of manifestImages) {
    const name = formatReference(reference);
    const key = `${pack}\0${name}`;
    if (declared.has(name) || told.has(key)) continue;
    told.add(key);
    findings.warn(
      place,
      "image-undeclared",
      `A manifest of pack "${pack}" runs ${name}, which no pack declares, so it is not delivered`,
      "Add it to extraImages in the site file, or give it with --images FILE",
    );
  }
}
