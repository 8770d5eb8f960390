import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Beside the store: a hint for estimates, which is worth nothing more and may be lost. */
const FILE = "last-delivery.json";

/** How fast the last delivery into this folder was, in bytes per second, or undefined. */
export async function readLastSpeed(dataDir: string): Promise<number | undefined> {
  try {
    const json: unknown = JSON.parse(await readFile(join(dataDir, FILE), "utf8"));
    if (typeof json !== "object" || json === null || !("bytesPerSecond" in json)) return undefined;
    const { bytesPerSecond } = json;
    const isSpeed = typeof bytesPerSecond === "number" && bytesPerSecond > 0;
    return isSpeed && Number.isFinite(bytesPerSecond) ? bytesPerSecond : undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the speed for the next estimate. A disk that refuses does no harm to the delivery. */
export async function keepLastSpeed(
  dataDir: string,
  bytesPerSecond: number,
  atMs: number,
): Promise<void> {
  const draft = join(dataDir, `${FILE}.draft`);
  const json = { bytesPerSecond, at: new Date(atMs).toISOString() };
  try {
    await mkdir(dataDir, { recursive: true });
    await writeFile(draft, `${JSON.stringify(json)}\n`);
    await rename(draft, join(dataDir, FILE));
  } catch {
    // An estimate without it asks for --rate.
  }
}
