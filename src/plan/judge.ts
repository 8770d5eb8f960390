import { type Findings, type Place, printable, quoted } from "#base";
import { type ClusterInputs, isAuthenticated } from "#profile";
import {
  contains,
  formatLocation,
  formatReference,
  type Location,
  longestMatch,
  readReference,
  repositoryName,
  tryParseLocation,
} from "#reference";
import { providerCredentialsFor } from "./access.ts";
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
  const registry = formatLocation(providerCredentials.location);
  const field = provider.at.some(({ path }) => /system\.uri"?$/.test(path))
    ? "options.system.uri"
    : "pack.content.images";
  findings.fault(
    providerCredentials.place,
    "provider-registry-mismatch",
    `Cannot use providerCredentials: providerCredentials.registry is ${registry}, but ${field} names the provider image ${provider.name}`,
    `Set providerCredentials.registry to ${provider.reference.domain}, or ${field} to an image in ${registry}`,
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
  for (const { maskedAt, location, origin } of declared) {
    const supplied = longestMatch(site.credentials.filter(isAuthenticated), location);
    if (maskedAt === undefined || supplied !== undefined) continue;
    findings.fault(
      maskedAt,
      "secret-masked",
      `The password of ${origin} for ${formatLocation(location)} is masked, as exports leave it`,
      `Supply it in the site file: credentials: [{registry: ${formatLocation(location)}, username: …, passwordFile: …}]`,
    );
  }
}

/** Of two rules for one source with two targets nobody can tell which was meant. */
export function judgeMappingRules(inputs: ClusterInputs, findings: Findings): void {
  for (const rules of [inputs.imageReplacementRules, inputs.userData.mappingRules]) {
    const bySource = new Map<string, (typeof rules)[number]>();
    for (const rule of rules) {
      const source = formatLocation(rule.location);
      const other = bySource.get(source);
      bySource.set(source, rule);
      if (other === undefined || formatLocation(other.to) === formatLocation(rule.to)) continue;
      findings.fault(
        rule.place,
        "mapping-rule-twice",
        `Cannot tell where ${source} is mapped to: ${formatLocation(rule.to)} here, ${formatLocation(other.to)} in line ${other.place.line} of ${printable(other.place.file)}`,
        "Keep one of the two rules",
      );
    }
  }
}

/**
 * A rule for `busybox` is one for all that lies in `docker.io/busybox/`, as one for `grafana` is meant to
 * be, and maps nothing of the image that is called so, which is `docker.io/library/busybox`.
 */
export function warnShortRules(
  images: readonly DeclaredImage[],
  inputs: ClusterInputs,
  findings: Findings,
): void {
  for (const rule of [...inputs.imageReplacementRules, ...inputs.userData.mappingRules]) {
    const { domain, path } = rule.location;
    const meant = readReference(path);
    if (path.includes("/") || !("domain" in meant) || meant.domain !== domain) continue;
    const hasOne = (location: Location) =>
      images.some(({ reference }) => contains(location, reference));
    if (hasOne(rule.location) || !hasOne(meant)) continue;
    findings.warn(
      rule.place,
      "mapping-rule-unused",
      `The mapping rule for ${formatLocation(rule.location)} maps no image: the whole name of ${path} is ${repositoryName(meant)}`,
      `Write ${repositoryName(meant)} as its source`,
    );
  }
}

/** What a rewrite makes must be a name again, in the source's registry and in the local one. */
export function judgeNames(images: readonly PlannedImage[], findings: Findings): void {
  for (const image of images) {
    for (const name of [formatReference(image.source), image.local]) {
      if (name === null) continue;
      const problem = readReference(name);
      if ("domain" in problem) continue;
      findings.fault(
        placeOf(image),
        "rewrite-invalid",
        `Cannot rewrite ${formatReference(image.declared)}: ${printable(name)} is no reference, ${problem.message}`,
        "Add a registryMappingRules entry for it that gives a valid name",
      );
    }
  }
}

/**
 * No two images may end up as one, or the cluster would run one in place of the other; unless both
 * are pinned to one digest, which a rewrite keeps, so that they are one image indeed.
 */
export function judgeSources(images: readonly PlannedImage[], findings: Findings): void {
  const bySource = new Map<string, PlannedImage>();
  for (const image of images) {
    const source = formatReference(image.source);
    const other = bySource.get(source);
    if (other === undefined) bySource.set(source, image);
    if (other === undefined || image.source.digest !== undefined) continue;
    const { file, line } = placeOf(other);
    findings.fault(
      placeOf(image),
      "source-collision",
      `Cannot tell ${formatReference(image.declared)} from ${formatReference(other.declared)} (${printable(file)}:${line}): both would be fetched as ${source}`,
      "Set rewrite: prepend in the site file, or give one of them a registryMappingRules entry of its own",
    );
  }
}

function placeOf(image: PlannedImage): Place {
  return image.at[0] ?? { file: "", line: 1, column: 1, path: "" };
}

/** Credentials that fit no image: a typo, or a leftover. */
export function warnUnusedCredentials(
  inputs: ClusterInputs,
  images: readonly PlannedImage[],
  local: PlanRegistries["local"],
  findings: Findings,
): void {
  const { userData, registrySecrets, site } = inputs;
  const fetchers = site.fetcher === undefined ? [] : [site.fetcher.registry.location];
  const localLocation =
    local?.address == null ? undefined : tryParseLocation(`${local.address}/${local.project}`);
  for (const { origin, location, place } of [
    ...userData.externals,
    ...registrySecrets,
    ...site.credentials,
  ].filter(isAuthenticated)) {
    const isForLocal = localLocation !== undefined && contains(location, localLocation);
    const isForSite = [...inputs.steering, ...fetchers].some((one) => contains(location, one));
    if (isForLocal || isForSite || images.some(({ source }) => contains(location, source)))
      continue;
    findings.warn(
      place,
      "credential-unused",
      `${origin} for ${formatLocation(location)} fits no image`,
      "Check the registry's name, or take the credential out",
    );
  }
}

/** providerCredentials of no use, because the provider image comes from another registry. */
export function warnUnusedProviderCredentials(
  inputs: ClusterInputs,
  images: readonly PlannedImage[],
  findings: Findings,
): void {
  const { providerCredentials } = inputs;
  if (providerCredentials === undefined || !isAuthenticated(providerCredentials)) return;
  const provider = images.find(({ category }) => category === "provider");
  if (provider === undefined || providerCredentialsFor(provider, inputs) !== undefined) return;
  if (!contains(providerCredentials.location, provider.declared)) return;
  findings.warn(
    providerCredentials.place,
    "credential-unused",
    `providerCredentials are not used: the provider image comes from ${provider.source.domain}, and they serve only the provider registry`,
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
  const { redirectOffAt } = userData;
  if (redirectOffAt !== undefined && site.runtime === undefined && local !== null) {
    findings.warn(
      redirectOffAt,
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
      `A manifest of pack ${quoted(pack, 80)} runs ${name}, which no pack declares, so it is not delivered`,
      "Add it to extraImages in the site file, or give it with --images FILE",
    );
  }
}
