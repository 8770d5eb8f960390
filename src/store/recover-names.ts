import { isJsonObject } from "#oci";
import type { Blobs } from "./blobs.ts";
import type { StoreDatabase } from "./database.ts";
import { type Disk, readText } from "./disk.ts";
import { type Layout, namesInIndex } from "./layout.ts";
import { NameTable } from "./names.ts";

/** The database that has no names, and what may still tell them. */
export interface RecoveryPlace {
  readonly layout: Layout;
  readonly disk: Disk;
  readonly blobs: Blobs;
  readonly database: StoreDatabase;
}

/**
 * Gives what was delivered its names again when the database was lost: `index.json` is a copy of them,
 * which ends here if it is not read, for it is written from the database. So a site whose link is down
 * serves as before. What was pushed has no copy (see `recover-pushed.ts`).
 *
 * A name comes back only with the content that it stands for; what that lists is looked at by whoever
 * reads it, and fetched again by the next delivery where it is not there.
 *
 * @returns how many names came back
 */
export async function recoverNames({
  layout,
  disk,
  blobs,
  database,
}: RecoveryPlace): Promise<number> {
  const names = new NameTable(database);
  // Where plans were carried out, it is right that there is no name.
  const [plan] = database.rows("SELECT 1 FROM generations LIMIT 1");
  if (plan !== undefined || names.all().length > 0) return 0;
  const found = namesInIndex(parse(await readText(disk, layout.index)));
  // At once, so that they share a transaction: half of them would look like all.
  const named = await Promise.all(
    [...found].map(async ([name, descriptor]) => {
      const isHere = await blobs.has(descriptor);
      if (isHere) await names.put(name, descriptor);
      return isHere;
    }),
  );
  return named.filter(Boolean).length;
}

function parse(text: string | undefined): unknown {
  try {
    const json: unknown = JSON.parse(text ?? "");
    return isJsonObject(json) ? json : undefined;
  } catch {
    return undefined;
  }
}
