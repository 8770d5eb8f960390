import { systemClock } from "#base";
import { openStore } from "#store";
import { content } from "./contents.ts";

/**
 * A program to be killed: `resuming-writer.ts DATA_DIR NAME BYTES` sends what is missing of one
 * content, three ranges at a time, and tells what it found and each write that was taken.
 */
async function resume(dataDir: string, name: string, length: number): Promise<void> {
  await using store = await openStore(dataDir, { clock: systemClock });
  const { descriptor, bytes } = content(name, length);
  await using ingest = await store.ingest(descriptor);
  const gaps = ingest.missing.flatMap(({ start, end }) => thirds(start, end));
  console.log(`missing ${ingest.missing.reduce((sum, { start, end }) => sum + end - start, 0)}`);
  for (let isLeft = true; isLeft; ) {
    isLeft = false;
    for (const gap of gaps.slice(0, 3)) {
      const piece = bytes.subarray(gap.at, Math.min(gap.at + 50_000, gap.end));
      if (piece.byteLength === 0) gaps.splice(gaps.indexOf(gap), 1);
      else await ingest.write(piece, gap.at);
      gap.at += piece.byteLength;
      isLeft = true;
      console.log(`taken ${piece.byteLength}`);
    }
  }
  await ingest.commit();
  console.log("committed");
}

function thirds(start: number, end: number): { at: number; readonly end: number }[] {
  const cuts = [
    start,
    start + Math.ceil((end - start) / 3),
    start + Math.ceil((end - start) / 1.5),
  ];
  return cuts.map((at, i) => ({ at, end: cuts[i + 1] ?? end }));
}

await resume(process.argv[2] ?? "", process.argv[3] ?? "", Number(process.argv[4]));
