/**
 * Programs that run the cluster's containers, as they are on this node: containerd, k3s, RKE2.
 *
 * @module
 */
export type { ConfigDisk, FileEdit } from "./config-disk.ts";
export { applyEdits, BACKUP_SUFFIX, readConfigFile, realConfigPath } from "./config-files.ts";
export {
  CONTAINERD_SOCKET,
  Containerd,
  type ContainerdFacts,
  type ContainerdOptions,
  type LoadedAs,
  type LoadOutcome,
} from "./containerd.ts";
export {
  IMAGES_FOLDERS,
  ImagesFolder,
  type ImagesFolderOptions,
  type WriteArchive,
} from "./images-folder.ts";
export { runnableConfig } from "./import-image.ts";
export { kubeletName } from "./names.ts";
