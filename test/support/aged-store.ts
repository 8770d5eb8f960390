import { readdir, utimes } from "node:fs/promises";
import { join } from "node:path";

const AGE_MS = 3 * 3_600_000;

/**
 * Makes all content of a store three hours old, which is more than the grace of a collection: what is
 * younger stays whatever leads to it, and a test of what is kept would prove nothing.
 */
export async function ageBlobs(dataDir: string): Promise<void> {
  const blobs = join(dataDir, "blobs", "sha256");
  const past = new Date(Date.now() - AGE_MS);
  for (const name of await readdir(blobs)) await utimes(join(blobs, name), past, past);
}
