import { randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { build, EXECUTABLE } from "./build.ts";
import { testStep } from "./step.ts";
import { closingLine, sum, type Tally } from "./tally.ts";

const MINUTE_MS = 60_000;

/** Longer than any round takes; one that hangs is a failure like others. */
const ROUND_MS_MAX = 120 * MINUTE_MS;

/**
 * Goes through the chaos suite with one seed after the other until its time is over:
 * `npm run chaos -- --minutes 120 --kills 200 --pushes 1000`, which says how often a delivery is killed,
 * and a registry that is pushed to. What failed is kept, and is gone through again with
 * `npm run chaos -- --seed SEED --minutes 0`: the seed of a round is in its line.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "10" },
      seed: { type: "string", default: randomBytes(4).toString("hex") },
      kills: { type: "string", default: "200" },
      pushes: { type: "string", default: "200" },
    },
  });
  await build();
  const endsMs = performance.now() + Number(values.minutes) * MINUTE_MS;
  const rounds: Tally[] = [];
  do {
    const seed = rounds.length === 0 ? values.seed : `${values.seed}.${rounds.length}`;
    const kills = { CHAOS_KILLS: values.kills, CHAOS_PUSHES: values.pushes };
    const env = { DRAY: EXECUTABLE, CHAOS_SEED: seed, ...kills };
    const round = await testStep(`seed ${seed}`, ["./test/chaos"], {
      timeLimitMs: ROUND_MS_MAX,
      env,
    });
    rounds.push(round);
  } while (performance.now() < endsMs);
  const total = sum(rounds);
  console.log(closingLine(total));
  process.exitCode = total.failed === 0 ? 0 : 1;
}

await main();
