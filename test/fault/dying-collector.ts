/**
 * Collects a store and kills itself before the n-th operation on the disk.
 *
 * Usage: bun dying-collector.ts FOLDER OPERATION NOW_MS
 */
import { collectStore } from "#store";
import { createManualClock } from "#test-support/clock";
import { faultyDisk } from "./faulty-disk.ts";

const [folder = "", operation = "", nowMs = ""] = process.argv.slice(2);
const kill = () => process.kill(process.pid, "SIGKILL");
const { disk } = faultyDisk(Number(operation), "refused", "EIO", undefined, kill);
const { signal } = new AbortController();
await collectStore(folder, { clock: createManualClock(Number(nowMs)), signal, disk });
