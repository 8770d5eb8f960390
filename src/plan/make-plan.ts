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
import { type DeclaredImage, joinDeclarations } from "./image.ts";
import {
  judgeMasks,
  judgeProviderRegistry,
  judgeSources,
  warnSurprises,
  warnUndeclaredImages,
  warnUnusedCredentials,
} from "./judge.ts";
import { decideLocalRegistry, decideUpload } from "./local-registry.ts";
import { type Plan, type PlannedImage, type PlanRegistries, STAGE_NAMES } from "./plan.ts";
import { decideSource } from "./source.ts";

/**
 * Decides everything about every image. With faults among the findings the plan is made as far as it
 * goes, and must not be carried out.
 *
 * @param findings what reading the inputs has found already; the plan's own findings are added
 * @param docker asked last for credentials; by default Docker's configuration is left alone
 */
export function makePlan(
  inputs: ClusterInputs,
  findings: Findings,
  docker: DockerCredentials = () => undefined,
): Plan {
  const declared = joinDeclarations(inputs.images);
  const local = decideLocalRegistry(inputs, findings);
  const combination = judgeCombination(inputs, local, findings);
  const used = new Set<DeclaredRegistry>();
  const sentToFirst: PlannedImage[] = [];
  const images = declared.map((image) => {
    const { source, because, isDefaultExternal } = decideSource(image, inputs);
    const access = decideAccess(image, source, inputs, docker);
    const upload = decideUpload(image, local);
    for (const registry of access.used) used.add(registry);
    const planned = {
      declared: image.reference,
      packs: image.packs,
      layer: image.layer,
      category: image.category,
      source,
      access: access.access,
      local: upload.local,
      because: [...because, ...access.because, ...upload.because],
      at: image.at,
    };
    if (isDefaultExternal) sentToFirst.push(planned);
    return planned;
  });
  judgeProviderRegistry(declared, inputs, findings);
  judgeMasks(inputs, findings);
  judgeSources(images, findings);
  warnSeveralExternals(sentToFirst, inputs, findings);
  warnUnusedCredentials(inputs, used, local, findings);
  warnSurprises(inputs, local, findings);
  warnUndeclaredImages(declared, inputs, findings);
  return {
    profiles: inputs.profileNames.toSorted(compareCodeUnits),
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
