/**
 * Cases of each property of a parser: few in the gate, which every commit waits for, and ten thousand
 * in `npm test`, which sets `FUZZ_RUNS`.
 */
export const FUZZ_RUNS: number = Number(process.env["FUZZ_RUNS"] ?? 200);
