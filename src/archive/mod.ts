/**
 * Archives of layers and images: tar read as it comes, the merged view of an image's layers, images
 * that lie in archives, and a root file system unpacked to a disk.
 *
 * Nothing that an archive says is trusted: sizes are bounded, digests compared, and paths are decided
 * in memory (`root-tree.ts`), so that no link in an archive leads anything out of its folder.
 *
 * @module
 */
export { type Compression, decompress, type UnpackLimits } from "./compression.ts";
export { encodeName } from "./entry-name.ts";
export {
  type Exported,
  type ExportImage,
  type ExportLayoutOptions,
  exportArchive,
  exportLayout,
} from "./export.ts";
export {
  type ArchivedContent,
  type ArchivedImage,
  archiveMembers,
  type ImageArchive,
  type Member,
  type OpenMembers,
  openImageArchive,
} from "./image-archive.ts";
export {
  type FindArchivesOptions,
  type FoundArchive,
  findImageArchives,
  IMAGE_FOLDERS,
  type LayeredImage,
  type LoadedImage,
  type Loading,
  type LoadOptions,
  loadImages,
} from "./image-archives.ts";
export type { ImageFile } from "./image-files.ts";
export { type ImageLayer, imageLayers, type LayerOptions } from "./layers.ts";
export type { LeftOut } from "./root-writer.ts";
export { readTar, type TarEntry, type TarEntryType } from "./tar.ts";
export type { TarTime } from "./tar-header.ts";
export { type Unpacked, type UnpackOptions, unpackLayers } from "./unpack.ts";
