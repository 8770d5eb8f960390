import { type Disk, type DiskFile, systemDisk } from "#store";

/** How the n-th operation goes wrong: nothing happens, it happens and still fails, or nothing works from then on. */
export type Fault = "refused" | "half done" | "dead from here";

/** What a writer is to survive: how an operation fails, the system's error, and the codes that people see. */
export const WRITE_FAULTS: readonly (readonly [Fault, string, readonly string[]])[] = [
  ["refused", "EIO", ["store-broken"]],
  ["refused", "ENOSPC", ["store-full"]],
  ["half done", "EDQUOT", ["store-full"]],
  ["half done", "EIO", ["store-broken"]],
  ["dead from here", "EROFS", ["store-broken"]],
];

/**
 * A disk that counts what is asked of it and fails at the n-th.
 *
 * @param onFault called before that fails, once
 */
export function faultyDisk(
  failAt: number,
  fault: Fault,
  code: string,
  inner: Disk = systemDisk,
  onFault: () => void = () => {},
): { readonly disk: Disk; readonly state: { operations: number; isSyncLost: boolean } } {
  const state = { operations: 0, isSyncLost: false };
  const guard = async <T>(act: () => Promise<T>): Promise<T> => {
    state.operations += 1;
    const isFault =
      fault === "dead from here" ? state.operations >= failAt : state.operations === failAt;
    if (!isFault) return act();
    if (state.operations === failAt) onFault();
    if (fault === "half done") await act();
    throw Object.assign(new Error(`${code}: injected`), { code });
  };
  const guardFile = (file: DiskFile): DiskFile => ({
    write: (bytes, offset) => {
      const half = bytes.subarray(0, bytes.byteLength / 2);
      const isHalf = fault === "half done" && state.operations + 1 === failAt;
      return guard(() => file.write(isHalf ? half : bytes, offset));
    },
    read: (buffer, offset) => guard(() => file.read(buffer, offset)),
    truncate: (bytes) => guard(() => file.truncate(bytes)),
    sync: () => {
      state.isSyncLost ||= state.operations + 1 === failAt;
      return guard(() => file.sync());
    },
    close: () => file.close(),
  });
  // Half an opening leaves the file and nobody who could close it.
  const guardOpening = <T extends DiskFile | undefined>(open: () => Promise<T>): Promise<T> => {
    const isFault = state.operations + 1 === failAt && fault === "half done";
    return guard(async () => {
      const file = await open();
      if (isFault) await file?.close();
      return file;
    });
  };
  const disk: Disk = {
    makeFolder: (path) => guard(() => inner.makeFolder(path)),
    list: (path) => guard(() => inner.list(path)),
    sizeOf: (path) => guard(() => inner.sizeOf(path)),
    status: (path) => guard(() => inner.status(path)),
    touch: (path, atMs) => guard(() => inner.touch(path, atMs)),
    create: (path) => guardOpening(async () => guardFile(await inner.create(path))),
    open: (path) =>
      guardOpening(async () => {
        const file = await inner.open(path);
        return file === undefined ? undefined : guardFile(file);
      }),
    openPastCache: (path) =>
      guardOpening(async () => {
        const file = await inner.openPastCache(path);
        return file === undefined ? undefined : guardFile(file);
      }),
    edit: (path) =>
      guardOpening(async () => {
        const file = await inner.edit(path);
        return file === undefined ? undefined : guardFile(file);
      }),
    rename: (from, to) => guard(() => inner.rename(from, to)),
    remove: (path) => guard(() => inner.remove(path)),
    syncFolder: (path) => guard(() => inner.syncFolder(path)),
    freeBytes: (path) => guard(() => inner.freeBytes(path)),
    bootId: () => inner.bootId(),
  };
  return { disk, state };
}
