import { Failure, nearest, quoted } from "#base";
import { type ImageGraph, type NamedContent, readImageGraph } from "#content";
import { type Descriptor, parsePlatform } from "#oci";
import { formatReference, parseReference } from "#reference";
import type { DiskStore } from "#store";
import type { CliContext } from "./context.ts";

/** An image of the store on one platform. */
export interface StoredImage {
  /** As declared, normalised. */
  readonly name: string;
  readonly root: Descriptor;
  readonly graph: ImageGraph;
}

/**
 * Finds the image that a person names, by its declared name, in the store.
 *
 * @param platform as typed; this machine's when it is undefined
 * @throws {Failure} `reference-invalid`, `platform-invalid`; `image-unknown`, with a near name
 */
export async function findStoredImage(
  text: string,
  store: DiskStore,
  platform: string | undefined,
  context: CliContext,
): Promise<StoredImage> {
  const name = formatReference(parseReference(text));
  const wanted = parsePlatform(platform ?? context.platform);
  const root = await store.lookup(name);
  if (root === undefined) throw unknown(name, await store.names());
  const graph = await readImageGraph(store, root, wanted, context);
  return { name, root, graph };
}

function unknown(name: string, known: readonly NamedContent[]): Failure {
  const near = nearest(
    name,
    known.map((each) => each.name),
  );
  return new Failure({
    code: "image-unknown",
    message: `Cannot find image ${quoted(name)}: the store has ${known.length} names and not this one`,
    hint:
      near === undefined
        ? "Run `dray deliver` first, or name the store with `--data-dir`"
        : `Did you mean ${quoted(near)}?`,
  });
}
