import type { Plan } from "#plan";
import { formatReference } from "#reference";
import type { DeliveryProgress } from "./delivery-progress.ts";
import type { ImageWhereabouts } from "./operations.ts";
import type { ImageState } from "./state.ts";

const NOWHERE: ImageWhereabouts = { digest: null, bytes: null, runtime: null };

/** The images of a revision, in the order of the plan: what was decided, and how far they are. */
export function imageStatesOf(
  plan: Plan,
  whereabouts: ReadonlyMap<string, ImageWhereabouts>,
  progress: DeliveryProgress | undefined,
): readonly ImageState[] {
  return plan.stages.flatMap(({ name, images }) =>
    images.map((image) => {
      const declared = formatReference(image.declared);
      const moved = progress?.image(declared);
      return {
        declared,
        stage: name,
        packs: image.packs,
        source: formatReference(image.source),
        registry: image.source.domain,
        credential: image.access.origin,
        local: image.local,
        because: image.because,
        whereabouts: whereabouts.get(declared) ?? NOWHERE,
        outcome: moved?.outcome ?? null,
        upload: moved?.upload ?? null,
        bytesMoved: moved?.bytesMoved ?? 0,
        failure: moved?.failure ?? null,
      };
    }),
  );
}
