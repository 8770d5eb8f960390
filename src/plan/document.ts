import { formatReference } from "#reference";
import type { Plan, PlannedImage, PlanRegistries } from "./plan.ts";

/**
 * The plan as the JSON document of the outward contract (`apiVersion: drayage/v1`, `kind: Plan`).
 * It holds no secret: of a credential only its origin is told.
 */
export function planDocument(plan: Plan): Readonly<Record<string, unknown>> {
  return {
    apiVersion: "drayage/v1",
    kind: "Plan",
    profiles: plan.profiles,
    registries: { ...plan.registries, local: localDocument(plan.registries.local) },
    combination: plan.combination,
    stages: plan.stages.map(({ name, images }) => ({ name, images: images.map(imageDocument) })),
    warnings: plan.warnings,
    faults: plan.faults,
  };
}

function localDocument(local: PlanRegistries["local"]): object | null {
  if (local === null) return null;
  const { access, authenticated, ...rest } = local;
  return { ...rest, credential: access.origin, authenticated };
}

function imageDocument(image: PlannedImage): Readonly<Record<string, unknown>> {
  return {
    declared: formatReference(image.declared),
    packs: image.packs,
    layer: image.layer,
    category: image.category,
    source: formatReference(image.source),
    ...(image.via === undefined ? {} : { via: image.via }),
    credential: image.access.origin,
    local: image.local,
    because: image.because,
    at: image.at.map(({ file, line, column }) => ({ file, line, column })),
  };
}
