import type { PlannedImage } from "#plan";
import { formatReference } from "#reference";

/** Why one image comes from where it comes, as `dray explain -o json` says it. */
export function explainImage(image: PlannedImage) {
  return {
    declared: formatReference(image.declared),
    source: formatReference(image.source),
    stage: image.category,
    credential: image.access.origin,
    local: image.local,
    because: image.because,
    packs: image.packs,
    at: image.at,
  };
}
