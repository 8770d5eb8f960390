import type { Stats } from "node:fs";

/**
 * Differs when a file was changed or replaced. The time of its last change of any kind is in it, for
 * tools that keep the time of writing (`cp -p`, `rsync -t`).
 */
export function fileVersion({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(".");
}
