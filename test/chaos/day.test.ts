import { expect, setDefaultTimeout, test } from "bun:test";
import type { JournalEntry, SiteState } from "#daemon";
import { dray } from "#test-support/program";
import { type DayAgent, LOGIN, openDaySite } from "./day-site.ts";
import { GOOD_LINK } from "./resetting-link.ts";

// Half a minute on a machine with nothing else to do: an agent waits before it tries again.
setDefaultTimeout(300_000);

const MIB = 1024 * 1024;

/** A link that carries little, and breaks each connection. */
const BAD_LINK = { resetAfterBytes: MIB / 2, bytesPerSecond: 3 * MIB };

const CORE = { v1: "quay.io/kairos/core:v1", v2: "quay.io/kairos/core:v2" };
const TILL = { v1: "shop.example/pos/till:v1", v2: "shop.example/pos/till:v2" };
const SHELF = "shop.example/pos/shelf:v1";

test("a day in the life of a site", async () => {
  await using site = await openDaySite();
  const { link } = site;
  await using agents = new AsyncDisposableStack();
  const start = async () => agents.use(await site.startAgent());

  // It boots with no link, and waits.
  await site.writeProfile({ core: CORE.v1, apps: [TILL.v1] });
  let agent = await start();
  const waiting = await agent.follower.untilState(
    "it waits for a registry",
    ({ activity }) => activity.waiting !== null,
  );
  expect(waiting.verdict.level).toBe("wanting");
  expect(waiting.activity.waiting?.reason).toContain(`${link.address} refused the connection`);

  // The link comes.
  await link.mend();
  const first = await activated(agent, await agent.follower.untilState("v1 is staged", hasStaged));

  // The link goes, and pods pull.
  await link.cut();
  const till = await site.pull(TILL.v1);
  await site.pull(CORE.v1);

  // A new profile arrives over a link that is slow and resets, and the power is cut in mid-staging.
  link.change(BAD_LINK);
  await link.mend();
  await site.writeProfile({ core: CORE.v2, apps: [TILL.v1, TILL.v2] });
  await agent.follower.untilState("a part of v2 is here", isUnderWay);
  await agent.cutPower();
  agent = await start();
  const { staged } = await agent.follower.untilState("v2 is staged", hasStaged);
  expect(link.resets).toBeGreaterThan(0);
  expect(await site.pull(TILL.v1)).toBe(till);
  link.change(GOOD_LINK);

  // It is activated, and the power is cut while the operating system is given its image.
  await site.holdHandOver(true);
  const group = agent.follower.untilNews("the hand-over begins", (news) => {
    const isOutput = news.type === "delivery" && news.event.type === "hand-over-output";
    return isOutput ? /^group (\d+) /.exec(news.event.line)?.[1] : undefined;
  });
  await agent.act("activate");
  await agent.cutPower(Number(await group));
  await site.holdHandOver(false);
  agent = await start();
  const { active: second } = await agent.follower.untilState("v2 is active", isReady);
  expect(second?.id).toBe(staged?.id ?? "");
  await site.pull(TILL.v2);

  // Back to what was.
  await agent.act("rollback");
  await agent.follower.untilState(
    "v1 is active again",
    ({ active, proof }) => active?.id === first && proof?.ok === true,
  );
  expect(await site.pull(TILL.v1)).toBe(till);

  // The credential expires, and the site is given the new one.
  await site.upstream.changeLogin({ ...LOGIN, password: "second-password" });
  await agent.act("stage");
  const refused = await agent.follower.untilState("the credential is refused", (state) =>
    codesOf(state).includes("credential-refused"),
  );
  expect(refused.active?.id).toBe(first);
  await site.writePassword("second-password");
  await agent.follower.untilState(
    "nothing is wrong any more",
    (state) => codesOf(state).length === 0 && state.activity.name === "idle",
  );

  // The disk fills while more comes, and is freed.
  link.change(BAD_LINK);
  await site.writeProfile({ core: CORE.v2, apps: [TILL.v2, SHELF] });
  await agent.follower.untilState("a part of v3 is here", isUnderWay);
  if (site.disk !== undefined) {
    await site.disk.fill();
    const full = await agent.follower.untilState("the disk is full", (state) =>
      state.warnings.some(({ code, subject }) => code === "store-full" && subject !== ""),
    );
    const { message = "" } = full.warnings.find(({ subject }) => subject !== "") ?? {};
    expect(message).toMatch(/ has [0-9.]+ k?B free, expected [0-9.]+ [kM]B \([0-9.]+ [kM]B more\)/);
    await site.disk.empty();
  }
  link.change(GOOD_LINK);
  await agent.follower.untilState(
    "v3 is staged",
    (state) => hasStaged(state) && state.staged?.id !== second?.id,
  );
  const third = await activated(agent, agent.follower.untilState("v3 is staged", hasStaged));
  expect(third).not.toBe(second?.id ?? "");

  // At the end the proof holds without a link, and the journal has told the truth.
  await link.cut();
  expect(await dray(["prove", "--full", ...site.args])).toMatchObject({ exitCode: 0 });
  agent.kill("SIGTERM");
  expect(await agent.exited).toBe(0);
  const journal = await journalOf(site.args);
  const times = journal.map(({ at }) => at);
  expect(times).toEqual(times.toSorted());
  expect(storyOf(journal)).toEqual([
    ...["agent-started", `revision-seen ${first}`, "uplink-lost", "uplink-back"],
    ...[`revision-staged ${first}`, "action activate"],
    ...["hand-over-begun", "hand-over-done", `revision-activated ${first}`, "proof-held"],
    ...[`revision-seen ${second?.id}`, "agent-died", "agent-started", "verified"],
    // After each start it is proven anew.
    ...[`revision-staged ${second?.id}`, "proof-held", "action activate", "hand-over-begun"],
    ...["agent-died", "agent-started", "verified"],
    ...["hand-over-begun", "hand-over-done", `revision-activated ${second?.id}`, "proof-held"],
    ...["action rollback", "hand-over-begun", "hand-over-done"],
    ...[`revision-rolled-back ${first}`, "proof-held"],
    ...["action stage", "credential-changed refused", "credential-changed ok"],
    `revision-seen ${third}`,
    ...(site.disk === undefined ? [] : ["image-failed store-full"]),
    ...[`revision-staged ${third}`, "action activate", "hand-over-begun", "hand-over-done"],
    ...[`revision-activated ${third}`, "proof-held", "agent-stopped"],
  ]);
});

function isReady({ verdict, staged }: SiteState): boolean {
  return verdict.level === "ready" && staged === null;
}

function hasStaged({ staged, activity }: SiteState): boolean {
  return staged !== null && activity.name === "idle";
}

function codesOf({ warnings }: SiteState): readonly string[] {
  return warnings.map(({ code }) => code);
}

/** Some of what is new is here, and much of it is not. */
function isUnderWay({ activity, delivery, active, staged }: SiteState): boolean {
  if (activity.name !== "staging" || delivery === null) return false;
  const isNew = delivery.revision !== active?.id && delivery.revision !== staged?.id;
  return isNew && delivery.bytesMoved > MIB;
}

/** Activates what is staged; gives the revision once it is proven. */
async function activated(
  { act, follower }: DayAgent,
  state: SiteState | Promise<SiteState>,
): Promise<string> {
  const { staged } = await state;
  await act("activate");
  await follower.untilState(
    `${staged?.id} is ready`,
    (later) => isReady(later) && later.active?.id === staged?.id,
  );
  return staged?.id ?? "";
}

async function journalOf(args: readonly string[]): Promise<readonly JournalEntry[]> {
  const { out } = await dray(["journal", "--output=json", "--lines=500", ...args]);
  const { entries } = JSON.parse(out) as { readonly entries: readonly JournalEntry[] };
  return entries.toReversed();
}

/** Attempts of deliveries are as many as the machine is slow; what became of them is told besides. */
const ATTEMPTS = new Set(["delivery-begun", "delivery-ended"]);

/** Failures of single images that are the story: the others come with a link that is lost. */
const STORY_FAILURES = new Set(["store-full"]);

/** Credentials are tried now and then; that one can't be is told by the uplink too. */
const STORY_CREDENTIALS = new Set(["refused", "ok"]);

/** Kinds of the journal with what they are about, without what depends on how fast the machine is. */
function storyOf(entries: readonly JournalEntry[]): readonly string[] {
  let wasRefused = false;
  return entries.flatMap(({ kind, data }) => {
    const { revision, to, action, state, code } = data as Readonly<Record<string, string>>;
    if (ATTEMPTS.has(kind)) return [];
    if (kind === "image-failed") return STORY_FAILURES.has(code ?? "") ? [`${kind} ${code}`] : [];
    if (kind === "credential-changed") {
      const isStory = STORY_CREDENTIALS.has(state ?? "") && (wasRefused || state === "refused");
      wasRefused ||= state === "refused";
      return isStory ? [`${kind} ${state}`] : [];
    }
    if (kind === "proof-held" || kind === "verified") return [kind];
    const subject = to ?? revision ?? action;
    return [subject === undefined ? kind : `${kind} ${subject}`];
  });
}
