import { Database } from "bun:sqlite";
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ageBlobs } from "#test-support/aged-store";
import { type Chance, createChance } from "#test-support/chance";
import { dray, startDray, temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";
import { type Look, Promises } from "./promises.ts";
import { makePushers, type PushedRegistry, type Pusher } from "./pusher.ts";
import { SEED } from "./site.ts";

/** How often the registry is killed: few times where every commit waits for it, a thousand at night. */
const PUSH_KILLS = Number(process.env["CHAOS_PUSHES"] ?? 25);

setDefaultTimeout(60_000 + PUSH_KILLS * 5_000);

const PUSHERS = 4;
const HOUR_MS = 3_600_000;

test(`a registry that is killed ${PUSH_KILLS} times while it is pushed to has all that it answered for`, async () => {
  const seed = `${SEED}/push`;
  const again = `CHAOS_SEED=${SEED} CHAOS_PUSHES=${PUSH_KILLS} bun test ./test/chaos/push-kill.test.ts`;
  console.log(`seed ${SEED}; again: ${again}`);
  await using folder = await temporaryFolder();
  const dataDir = join(folder.path, "data");
  const promises = new Promises();
  const pushers = makePushers(seed, PUSHERS, promises);
  const chance = createChance(`${seed}/moments`);
  const total = { kills: 0, answers: 0, found: 0, bytes: 0, done: 0, undone: 0 };
  const add = (look: Look) => {
    for (const key of ["found", "bytes", "done", "undone"] as const) total[key] += look[key];
  };
  while (total.kills < PUSH_KILLS) {
    if (chance.happens(0.1)) await killEarly(dataDir, chance);
    else {
      const { answers, look } = await pushUntilKilled(dataDir, { pushers, promises, chance });
      total.answers += answers;
      add(look);
    }
    total.kills += 1;
  }
  {
    await using registry = await startRegistryProgram(dataDir);
    add(await promises.check(`http://${registry.address}`));
  }
  const collected = await collect(dataDir);
  promises.allowCollection();
  await using registry = await startRegistryProgram(dataDir);
  const last = await promises.check(`http://${registry.address}`);
  expect(last.found).toBeGreaterThan(PUSHERS);
  expect(await dray(["verify", `--data-dir=${dataDir}`])).toMatchObject({ exitCode: 0 });
  const resumed = pushers.reduce((sum, { sessions }) => sum + sessions.resumed, 0);
  const told = { ...total, resumed, collected, last };
  console.log(
    Object.entries(told)
      .map(([key, value]) => `${key} ${JSON.stringify(value)}`)
      .join(", "),
  );
  expect(collected).toBeGreaterThan(0);
  expect(total.answers).toBeGreaterThan(10 * PUSH_KILLS);
  // Kills that find nothing under way would prove nothing.
  expect(total.undone).toBeGreaterThan(0);
  expect(resumed).toBeGreaterThan(0);
});

/** Before it serves, or just when it does. */
async function killEarly(dataDir: string, chance: Chance): Promise<void> {
  const words = [`--data-dir=${dataDir}`, "--listen=127.0.0.1:0"];
  const child = startDray(["registry", "serve", ...words]);
  await pause(chance.below(300));
  child.kill("SIGKILL");
  await child.exited;
}

interface Load {
  readonly pushers: readonly Pusher[];
  readonly promises: Promises;
  readonly chance: Chance;
}

/** Looks at all that was promised, then pushes until some number of answers has come, and kills. */
async function pushUntilKilled(dataDir: string, { pushers, promises, chance }: Load) {
  await using program = await startRegistryProgram(dataDir);
  const origin = `http://${program.address}`;
  const look = await promises.check(origin);
  const killAt = 1 + chance.below(120);
  const waitMs = chance.below(12);
  const moment = Promise.withResolvers<void>();
  const state = { answers: 0, isDying: false };
  const registry: PushedRegistry = {
    origin,
    get isDying() {
      return state.isDying;
    },
    onAnswer() {
      state.answers += 1;
      if (state.answers === killAt) moment.resolve();
    },
  };
  const pushing = Promise.all(pushers.map((pusher) => pusher.push(registry)));
  // They end by themselves only with an error.
  await Promise.race([moment.promise, pushing]);
  await pause(waitMs);
  state.isDying = true;
  await program.kill();
  await pushing;
  return { answers: state.answers, look };
}

/** Verifies, and removes what nothing leads to, however young it is; gives how many blobs went. */
async function collect(dataDir: string): Promise<number> {
  expect(await dray(["verify", `--data-dir=${dataDir}`])).toMatchObject({ exitCode: 0 });
  await ageBlobs(dataDir);
  {
    using database = new Database(join(dataDir, "drayage.db"));
    database.run(`UPDATE repository_blobs SET linked_ms = linked_ms - ${HOUR_MS}`);
  }
  const { exitCode, out } = await dray([
    ...["gc", "--grace=1m", "--output=json", `--data-dir=${dataDir}`],
  ]);
  expect(exitCode).toBe(0);
  return JSON.parse(out).blobs.length;
}
