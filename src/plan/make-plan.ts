import type { Findings } from "#base";
import {
  type ClusterInputs,
  compareCodeUnits,
  type DeclaredRegistry,
  isAuthenticated,
} from "#profile";
import { formatLocation } from "#reference";
import { type DockerCredentials, decideAccess } from "./access.ts";
import { judgeCombination } from "./combination.ts";
import { decideFetcher } from "./fetcher.ts";
import { type DeclaredImage, joinDeclarations } from "./image.ts";
import {
  judgeMappingRules,
  judgeMasks,
  judgeNames,
  judgeProviderRegistry,
  judgeSources,
  warnShortRules,
  warnSurprises,
  warnUndeclaredImages,
  warnUnusedCredentials,
  warnUnusedProviderCredentials,
} from "./judge.ts";
import { decideLocalRegistry, decideUpload } from "./local-registry.ts";
import {
  type Plan,
  type PlannedImage,
  type PlanRegistries,
  type Reason,
  STAGE_NAMES,
} from "./plan.ts";
import { decideSource } from "./source.ts";

/**
 * Decides everything about every image. With faults among the findings the plan is made as far as it
 * goes, and must not be carried out.
 *
 * @param findings what reading the inputs has found already; the plan's own findings are added
 * @param docker asked last for credentials; by default Docker's configuration is left alone
 */
export function makePlan(
  given: ClusterInputs,
  findings: Findings,
  docker: DockerCredentials = () => undefined,
): Plan {
  const inputs = { ...given, registrySecrets: given.registrySecrets.toSorted(compareSecrets) };
  const declared = joinDeclarations(inputs.images);
  const local = decideLocalRegistry(inputs, docker, findings);
  const combination = judgeCombination(inputs, local, findings);
  const sentToFirst: PlannedImage[] = [];
  const images = declared.map((image) => {
    const { source, because, isDefaultExternal } = decideSource(image, inputs);
    const access = decideAccess({ category: image.category, source }, inputs, docker);
    const upload = decideUpload(image, local);
    const via = decideFetcher(image.reference, inputs.site);
    const planned = {
      declared: image.reference,
      packs: image.packs,
      layer: image.layer,
      category: image.category,
      source,
      ...(via === undefined ? {} : { via: via.name }),
      access: access.access,
      local: upload.local,
      because: [
        ...[...because, ...access.because, ...(via?.because ?? [])],
        ...[...upload.because, ...stageReasons(image)],
      ],
      at: image.at,
    };
    if (isDefaultExternal) sentToFirst.push(planned);
    return planned;
  });
  judgeProviderRegistry(declared, inputs, findings);
  judgeMasks(inputs, findings);
  judgeMappingRules(inputs, findings);
  warnShortRules(declared, inputs, findings);
  judgeNames(images, findings);
  judgeSources(images, findings);
  warnSeveralExternals(sentToFirst, inputs, findings);
  warnUnusedCredentials(inputs, images, local, findings);
  if (combination.supported) warnUnusedProviderCredentials(inputs, images, findings);
  warnSurprises(inputs, local, findings);
  warnUndeclaredImages(declared, inputs, findings);
  return {
    profiles: inputs.profileNames,
    registries: {
      provider: providerRegistry(declared, inputs),
      external: externalRegistries(inputs),
      local,
    },
    combination,
    stages: STAGE_NAMES.map((name) => ({
      name,
      images: images.filter(({ category }) => category === name),
    })),
    warnings: findings.warnings,
    faults: findings.faults,
  };
}

/** What makes a provider image one, and what follows from that. */
function stageReasons({ category }: DeclaredImage): readonly Reason[] {
  if (category !== "provider") return [];
  return [
    { rule: "provider-location", text: "The OS pack names it as the provider image" },
    {
      rule: "provider-first",
      text: "No blob of any other image is requested before every provider image is complete and verified",
    },
  ];
}

function providerRegistry(
  images: readonly DeclaredImage[],
  inputs: ClusterInputs,
): PlanRegistries["provider"] {
  const provider = images.find(({ category }) => category === "provider");
  if (provider === undefined) return null;
  const credentials = inputs.providerCredentials;
  return {
    address: provider.reference.domain,
    authenticated: credentials !== undefined && isAuthenticated(credentials),
  };
}

function externalRegistries({ userData }: ClusterInputs): PlanRegistries["external"] {
  return userData.externals.map((external) => ({
    address: formatLocation(external.location),
    authenticated: isAuthenticated(external),
    insecure: external.insecure,
  }));
}

/** Of two Secrets for one registry the same one is taken, whatever the order of the packs. */
function compareSecrets(a: DeclaredRegistry, b: DeclaredRegistry): number {
  return (
    compareCodeUnits(a.origin, b.origin) || compareCodeUnits(a.username ?? "", b.username ?? "")
  );
}

function warnSeveralExternals(
  sentToFirst: readonly PlannedImage[],
  { userData }: ClusterInputs,
  findings: Findings,
): void {
  const [first] = userData.externals;
  if (first === undefined || sentToFirst.length === 0) return;
  const images =
    sentToFirst.length === 1 ? "1 image matches" : `${sentToFirst.length} images match`;
  findings.warn(
    first.place,
    "external-registry-assumed",
    `There are ${userData.externals.length} external registries, and ${images} no mapping rule: the first one listed, ${formatLocation(first.location)}, is taken`,
    "Add registryMappingRules that say which registry holds which images",
  );
}
