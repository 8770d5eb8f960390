import { resolve } from "node:path";
import { type Clock, Failure, quoted } from "#base";
import { StoreDatabase } from "./database.ts";
import { systemDisk } from "./disk.ts";
import { storeFailure } from "./failure.ts";
import { type GenerationRole, Generations } from "./generations.ts";
import { layoutOf } from "./layout.ts";

/**
 * Has names of a store stay by the part they play, as {@link Generations.hold} does, for a process that
 * has no store open to write. It takes no lock: a delivery that is under way declares names of its own,
 * and these change in one transaction.
 *
 * @throws {Failure} `store-missing`, `store-full`, `store-busy`, `store-broken`, `store-newer`
 */
export async function holdNames(
  dataDir: string,
  roles: Readonly<Partial<Record<GenerationRole, Iterable<string>>>>,
  { clock }: { readonly clock: Clock },
): Promise<void> {
  const layout = layoutOf(resolve(dataDir));
  const attempt = {
    verb: "record",
    object: "what a plan declares",
    dataDir: layout.dataDir,
  };
  const failure = (error: unknown) => storeFailure(error, attempt);
  try {
    if ((await systemDisk.sizeOf(layout.database)) === undefined) throw missing(layout.dataDir);
    const database = StoreDatabase.openForWriting(layout.database);
    try {
      const requireWriter = () => undefined;
      await new Generations({ database, clock, requireWriter, failure }).hold(roles);
    } finally {
      database.close();
    }
  } catch (error) {
    throw failure(error);
  }
}

function missing(dataDir: string): Failure {
  return new Failure({
    code: "store-missing",
    message: `Cannot record what a plan declares in store ${quoted(dataDir)}: there is none yet, expected one that was delivered to`,
    hint: "Run `dray deliver` first, or name the right folder with `--data-dir`",
  });
}
