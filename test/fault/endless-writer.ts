import { systemClock } from "#base";
import { digestOf } from "#content";
import { openStore } from "#store";
import { randomBytes } from "#test-support/images";

/** A program to be killed: `endless-writer.ts DATA_DIR SEED` takes in and names content, and tells each step. */
async function writeWithoutEnd(dataDir: string, seed: string): Promise<void> {
  const store = await openStore(dataDir, { clock: systemClock });
  for (let i = 0; ; i += 1) {
    const bytes = randomBytes(`${seed}/${i}`, 1_500_000);
    const descriptor = { mediaType: "application/x", digest: digestOf(bytes), size: bytes.length };
    const ingest = await store.ingest(descriptor);
    await ingest.write(bytes.subarray(0, 1_200_000), 0);
    console.log("half way");
    await ingest.write(bytes.subarray(1_200_000), 1_200_000);
    console.log("to commit");
    await ingest.commit();
    console.log("committed");
    await store.name(`${seed}/${i}`, descriptor);
    console.log(`named ${seed}/${i}`);
    if (i % 2 === 1) await store.flush();
  }
}

await writeWithoutEnd(process.argv[2] ?? "", process.argv[3] ?? "");
