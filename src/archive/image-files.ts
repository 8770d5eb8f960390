import { quoted } from "#base";
import type { Fetcher } from "#content";
import { layerInvalid } from "./failure.ts";
import { type ImageLayer, type LayerOptions, readLayer } from "./layers.ts";
import type { RootTree, TreeNode } from "./root-tree.ts";
import type { TarEntry } from "./tar.ts";

/** A file of an image, and where its bytes lie. */
export interface ImageFile {
  /** From the root, without a slash at the start; as it was looked for, through whatever links. */
  readonly path: string;
  readonly size: number;
  /** How many of these bytes are holes. */
  readonly holes: number;
  /** Position of the layer that has its bytes. */
  readonly layer: number;
  /** Of its entry in the layer's archive, in bytes: unlike the path, no other entry has it. */
  readonly offset: number;
}

/** Folders within folders that are looked through; a link in a circle ends here too. */
const DEPTH_MAX = 32;

/**
 * The files below some folders of an image, as a program that runs in it would see them: whiteouts
 * respected, links followed. A folder may be a pattern, in which `*` stands for any part of one name.
 */
export function findFiles(tree: RootTree, folders: readonly string[]): readonly ImageFile[] {
  const found = new Map<string, ImageFile>();
  for (const folder of folders) {
    for (const path of expand(
      tree,
      folder.split("/").filter((name) => name !== ""),
    )) {
      collect(tree, path, found, 0);
    }
  }
  return [...found.values()];
}

function collect(tree: RootTree, path: string, found: Map<string, ImageFile>, depth: number): void {
  const node = tree.find(path);
  if (node === undefined || depth > DEPTH_MAX) return;
  const file = fileOf(path, node);
  if (file !== undefined) found.set(path, file);
  const names = [...(node.inode.children?.keys() ?? [])].sort();
  for (const name of names) collect(tree, `${path}/${name}`, found, depth + 1);
}

function fileOf(path: string, { inode }: TreeNode): ImageFile | undefined {
  if (inode.kind !== "file" || inode.entry === undefined) return undefined;
  const { size, holes, offset } = inode.entry;
  return { path, size, holes, layer: inode.layer, offset };
}

/** The paths that a pattern stands for. */
function expand(tree: RootTree, names: readonly string[]): readonly string[] {
  const at = names.findIndex((name) => name.includes("*"));
  if (at < 0) return [names.join("/")];
  const parent = names.slice(0, at).join("/");
  const folder = tree.find(parent);
  const pattern = new RegExp(`^${(names[at] ?? "").split("*").map(escapeText).join(".*")}$`, "s");
  const matches = [...(folder?.inode.children?.keys() ?? [])].filter((name) => pattern.test(name));
  return matches
    .sort()
    .flatMap((name) => expand(tree, [...names.slice(0, at), name, ...names.slice(at + 1)]));
}

function escapeText(text: string): string {
  return text.replace(/[\\^$.|?+()[\]{}]/g, "\\$&");
}

/** A file whose bytes come by. */
export interface StreamedFile {
  readonly file: ImageFile;
  /** To be read, or not, before the next file is asked for. */
  readonly body: TarEntry["body"];
}

/**
 * Streams the bytes of files, each layer that has some of them once and only as far as the last of
 * them. They come in the order of the layers.
 *
 * @throws {Failure} what `readLayer` throws
 */
export async function* streamFiles(
  fetcher: Fetcher,
  layers: readonly ImageLayer[],
  files: readonly ImageFile[],
  options: LayerOptions,
): AsyncGenerator<StreamedFile> {
  for (const [position, layer] of layers.entries()) {
    const wanted = new Map<number, ImageFile[]>();
    for (const file of files.filter((each) => each.layer === position)) {
      wanted.set(file.offset, [...(wanted.get(file.offset) ?? []), file]);
    }
    if (wanted.size === 0) continue;
    for await (const entry of readLayer(fetcher, layer, options)) {
      // Several names of one file: its bytes come by once.
      const [file] = wanted.get(entry.offset) ?? [];
      if (file === undefined) continue;
      wanted.delete(entry.offset);
      yield { file, body: entry.body };
      if (wanted.size === 0) break;
    }
    const [lost] = [...wanted.values()].flat();
    if (lost !== undefined) throw layerInvalid(`${quoted(lost.path)} is no longer in it`);
  }
}
