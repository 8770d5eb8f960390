import { type ClusterInputs, isAuthenticated, type MappingRule } from "#profile";
import {
  formatLocation,
  formatReference,
  isAlreadyThere,
  longestMatch,
  prependRegistry,
  type Reference,
  replacePrefix,
  replaceRegistry,
} from "#reference";
import type { DeclaredImage } from "./image.ts";
import type { Reason } from "./plan.ts";

/** Where an image is fetched from, and the rules that say so. */
export interface Decision {
  readonly source: Reference;
  readonly because: readonly Reason[];
  /** It was sent to the first of several external registries for want of a rule. */
  readonly isDefaultExternal: boolean;
}

/**
 * Decides where one image comes from: as it is when it lies in an external registry already, else by
 * the longest mapping rule, else rewritten into the external registry, else as declared.
 *
 * With `combinations: extended` and providerCredentials, provider images are left to the provider
 * registry whatever else there is.
 */
export function decideSource(image: DeclaredImage, inputs: ClusterInputs): Decision {
  const { reference } = image;
  const decided = (source: Reference, because: readonly Reason[], isDefaultExternal = false) => {
    return { source, because, isDefaultExternal };
  };
  const externals = inputs.userData.externals;
  const rule = findRule(reference, inputs);
  if (image.category === "provider" && keepsProviderRegistry(inputs)) {
    const isLifted = externals.length > 0 || rule !== undefined;
    return decided(reference, [providerReason(image), ...(isLifted ? [EXTENDED_REASON] : [])]);
  }
  const home = externals.find(({ location }) => isAlreadyThere(reference, location));
  if (home !== undefined) {
    const text = `It lies in the external registry ${formatLocation(home.location)} already, so its name stays as it is`;
    return decided(reference, [{ rule: "already-there", text }]);
  }
  if (rule !== undefined)
    return decided(replacePrefix(reference, rule.location, rule.to), [ruleReason(rule, inputs)]);
  const [external] = externals;
  if (external === undefined) return decided(reference, [asDeclaredReason(image)]);
  const rewrite = inputs.site.rewrite === "prepend" ? prependRegistry : replaceRegistry;
  const source = rewrite(reference, external.location);
  return decided(
    source,
    [
      externalReason(formatLocation(external.location)),
      rewriteReason(inputs.site.rewrite, image, source),
    ],
    externals.length > 1,
  );
}

/** Whether provider images go to the provider registry although there is an external one. */
export function keepsProviderRegistry({ site, providerCredentials }: ClusterInputs): boolean {
  return (
    site.combinations === "extended" &&
    providerCredentials !== undefined &&
    isAuthenticated(providerCredentials)
  );
}

/** imageReplacementRules are asked before registryMappingRules; in each the longest key wins. */
function findRule(reference: Reference, inputs: ClusterInputs): MappingRule | undefined {
  return (
    longestMatch(inputs.imageReplacementRules, reference) ??
    longestMatch(inputs.userData.mappingRules, reference)
  );
}

function ruleReason(rule: MappingRule, { imageReplacementRules }: ClusterInputs): Reason {
  const where = imageReplacementRules.includes(rule)
    ? "imageReplacementRules"
    : "registryMappingRules";
  const text = `${where} maps ${formatLocation(rule.location)} to ${formatLocation(rule.to)}, the longest key that matches; the rest of the path is kept`;
  return { rule: "mapping-rule", text };
}

function externalReason(address: string): Reason {
  return {
    rule: "external-registry",
    text: `The user data names the external registry ${address}, which serves every image`,
  };
}

function rewriteReason(
  mode: "replace" | "prepend",
  image: DeclaredImage,
  source: Reference,
): Reason {
  const name = formatReference(source);
  return mode === "replace"
    ? {
        rule: "rewrite-replace",
        text: `All before the last path segment of ${image.name} is replaced: ${name}`,
      }
    : {
        rule: "rewrite-prepend",
        text: `The external registry goes before the whole name ${image.name}: ${name}${portNote(image.reference)}`,
      };
}

/** Says why `:5000` has become `_5000`, where a whole name was made a path; else nothing. */
export function portNote({ domain }: Reference): string {
  const port = /:(\d+)$/.exec(domain)?.[1];
  return port === undefined ? "" : `; a path can hold no colon, so :${port} becomes _${port}`;
}

function asDeclaredReason(image: DeclaredImage): Reason {
  if (image.category === "provider") return providerReason(image);
  const packs = image.packs.length === 0 ? "The site file" : `Pack ${image.packs.join(", ")}`;
  return {
    rule: "pack-registry",
    text: `${packs} names it at ${image.reference.domain}, and no external registry or mapping rule applies`,
  };
}

function providerReason({ reference }: DeclaredImage): Reason {
  return {
    rule: "provider-registry",
    text: `The OS pack names the provider image at ${reference.domain}`,
  };
}

const EXTENDED_REASON: Reason = {
  rule: "combination",
  text: "combinations: extended leaves provider images to the provider registry, because providerCredentials are given",
};
