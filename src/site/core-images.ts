import { findImageArchives, IMAGE_FOLDERS, imageLayers, loadImages } from "#archive";
import { type Failure, isFailure } from "#base";
import { readImageGraph } from "#content";
import type { CoreImageOptions, CoreImages, CoreLoading, ProviderImage } from "#deliver";
import type { Plan } from "#plan";
import type { SiteProvider } from "#profile";
import { formatReference, parseReference, readReference } from "#reference";
import type { DiskStore } from "#store";

/** Part of what a search is remembered by: a later program that finds more must look again. */
const SEARCH_VERSION = 1;

/**
 * The image can't be looked through: no reason to keep a cluster from its other images. It is told, and
 * not remembered, for it may be the disk that is wrong and not the image.
 */
const OF_IMAGE: ReadonlySet<string> = new Set([
  ...["image-no-root", "layer-invalid", "digest-mismatch", "image-archive-invalid"],
  ...["archive-broken", "archive-unsupported", "archive-too-large"],
]);

/**
 * Core images of provider images, looked for once for each digest and setting. What the store has lost of
 * them since is loaded again.
 *
 * @returns undefined when the site file switches them off
 */
export function openCoreImages(
  { enabled, folders = IMAGE_FOLDERS }: SiteProvider["coreImages"],
  store: DiskStore,
): CoreImages | undefined {
  if (!enabled) return undefined;
  const settings = JSON.stringify({ version: SEARCH_VERSION, folders });
  return {
    async load(image, options) {
      const key = { provider: image.name, manifest: image.graph.manifest.digest, settings };
      const known = await store.provider.search(key.provider, key.manifest, settings);
      if (known !== undefined && (await areThere(known.names, store, options))) {
        const { archives, names, warnings } = known;
        return { outcome: "present", archives, names, warnings };
      }
      const begin = (names: readonly string[]) => store.provider.begin({ ...key, names });
      try {
        const loading = await loadFrom(image, folders, store, begin, options);
        const { archives, names, warnings } = loading;
        await store.provider.complete({ ...key, archives, names, warnings });
        return loading;
      } catch (error) {
        options.signal.throwIfAborted();
        if (!isFailure(error) || !OF_IMAGE.has(error.code)) throw error;
        return { outcome: "loaded", archives: 0, names: [], warnings: [unreadable(error)] };
      }
    },
  };
}

/**
 * The registry hosts of the core images that the provider images of a plan brought. The embedded registry
 * has them, and for a node that lost one it is the only place on the site: the plan declares none of them.
 */
export async function coreImageHosts(
  { stages }: Plan,
  { provider }: Pick<DiskStore, "provider">,
): Promise<readonly string[]> {
  const images = stages.flatMap((stage) => stage.images);
  const providers = images.filter(({ category }) => category === "provider");
  const names = await Promise.all(
    providers.map(({ declared }) => provider.names(formatReference(declared))),
  );
  return [...new Set(names.flat().map((name) => parseReference(name).domain))].sort();
}

async function loadFrom(
  image: ProviderImage,
  folders: readonly string[],
  store: DiskStore,
  begin: (names: readonly string[]) => Promise<void>,
  options: CoreImageOptions,
): Promise<CoreLoading> {
  const { signal, platform, declared } = options;
  const layers = await imageLayers(store, image.graph, { signal });
  const provider = { fetcher: store, layers };
  const found = await findImageArchives(provider, { signal, folders });
  const written = found.flatMap(({ archive }) => archive?.images.flatMap((each) => each.names));
  const names = [...new Set(written.flatMap((name) => normalName(name) ?? []))].sort();
  // Before the store has them: a collection meanwhile must know whose they are.
  await begin(names);
  const nameOf = (text: string) => {
    const name = normalName(text);
    return name === undefined || declared.has(name) ? undefined : name;
  };
  const loadOptions = { signal, platform, nameOf };
  const { loaded, trouble } = await loadImages(provider, found, store, loadOptions);
  const mine = new Set(loaded.map(({ name }) => name));
  return {
    outcome: "loaded",
    archives: found.length,
    names: names.filter((name) => mine.has(name) || declared.has(name)),
    warnings: trouble.map(({ message }) => message),
  };
}

function unreadable({ message }: Failure): string {
  return `It was not looked through for core images. ${message}`;
}

/** Names of archives may lack the host; what is no name at all is left out, and its image with it. */
function normalName(text: string | undefined): string | undefined {
  const reference = readReference(text ?? "");
  return "domain" in reference ? formatReference(reference) : undefined;
}

/** Whether all of them are complete in the store. What the plan declares is still to be delivered. */
async function areThere(
  names: readonly string[],
  store: DiskStore,
  { signal, platform, declared }: CoreImageOptions,
): Promise<boolean> {
  for (const name of names) {
    if (declared.has(name)) continue;
    const root = await store.lookup(name);
    if (root === undefined) return false;
    try {
      const { blobs } = await readImageGraph(store, root, platform, { signal });
      for (const blob of blobs) if (!(await store.has(blob))) return false;
    } catch (error) {
      signal.throwIfAborted();
      if (isFailure(error)) return false;
      throw error;
    }
  }
  return true;
}
