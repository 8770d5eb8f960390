import { join } from "node:path";
import { Failure, quoted } from "#base";
import type { Ledger, LedgerRecord } from "#link";
import { isJsonObject } from "#oci";
import { type Disk, readText, replaceFile, systemDisk } from "./disk.ts";
import { storeFailure } from "./failure.ts";

/**
 * The ledger of the link's quota, `ledger.json` in a data folder. Who writes must hold the store's
 * lock; reading needs none. It is replaced as a whole, so a power cut leaves the old one or the new.
 */
export function createDiskLedger(dataDir: string, disk: Disk = systemDisk): Ledger {
  const path = join(dataDir, "ledger.json");
  return {
    async read() {
      const text = await attempt("read", () => readText(disk, path));
      return text === undefined ? undefined : parseRecord(text);
    },
    async write({ bytes, latestMs }) {
      const draft = join(dataDir, "ledger.json.draft");
      const json = { bytes, latest: new Date(latestMs).toISOString() };
      await attempt("write", () =>
        replaceFile(disk, { path, folder: dataDir, draft }, `${JSON.stringify(json)}\n`),
      );
    },
  };

  async function attempt<T>(verb: string, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      throw storeFailure(error, { verb, object: "the ledger of the link", dataDir });
    }
  }

  function parseRecord(text: string): LedgerRecord {
    const record = toRecord(text);
    if (record !== undefined) return record;
    // Beginning from zero in silence could cost somebody's money.
    throw new Failure({
      code: "ledger-broken",
      message: `Cannot read the ledger of the link ${quoted(path)}: it is no ledger, expected what \`dray\` wrote`,
      hint: "Remove the file to count from zero again",
    });
  }
}

function toRecord(text: string): LedgerRecord | undefined {
  try {
    const json: unknown = JSON.parse(text);
    if (!isJsonObject(json)) return undefined;
    const { bytes, latest } = json;
    const latestMs = typeof latest === "string" ? Date.parse(latest) : Number.NaN;
    const isRecord = typeof bytes === "number" && bytes >= 0 && Number.isFinite(latestMs);
    return isRecord ? { bytes, latestMs } : undefined;
  } catch {
    return undefined;
  }
}
