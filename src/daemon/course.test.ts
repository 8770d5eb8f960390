import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import {
  type Course,
  type CourseEvent,
  follow,
  NEW_COURSE,
  rollbackOf,
  type Turn,
} from "./course.ts";
import { type Command, decide, givesWay } from "./decide.ts";
import { type ActivationPolicy, DEFAULT_AGENT_SETTINGS } from "./settings.ts";

const HOUR_MS = 3_600_000;
const START_MS = Date.UTC(2026, 0, 5, 12);
/** Mondays from 22:00 to 23:00. */
const NIGHT = { days: [1], fromMinute: 1320, toMinute: 1380, bytesPerSecond: undefined };

const around = (activation: ActivationPolicy = "immediate", nowMs = START_MS) => ({
  ...{ nowMs, timeZone: "UTC", isStalled: false },
  settings: { ...DEFAULT_AGENT_SETTINGS, activation },
});

const later = START_MS + HOUR_MS;
const dueMs = { resync: later, prove: later, verify: later, collect: later };
/** A quiet site: nothing is due. */
const QUIET: Course = { ...NEW_COURSE, dueMs };

const seen = (id: string): CourseEvent => ({ type: "seen", id, nowMs: START_MS });
const stageDone = (id: string, hasMoved = true): CourseEvent => ({
  ...{ type: "stage-done", id, hasMoved, nextMs: later },
});
const proven = (id: string, ok = true, isNews = true) => ({
  ...({ type: "proven", id, ok, isNews, nextMs: later } as const),
});
const after = (course: Course, ...events: readonly CourseEvent[]): Course =>
  events.reduce(follow, course);
const commandOf = (course: Course, ...rest: Parameters<typeof around>) =>
  decide(course, around(...rest)).command;
const activated = (course: Course, id: string): Course =>
  after(
    course,
    { type: "turn-begun", turn: { to: id, why: "activate", undoes: null } },
    { type: "turn-done" },
    proven(id),
  );

/** One is active, and two was before it. */
const SETTLED = [seen("one"), stageDone("one")].reduce(follow, QUIET);
const TWO_ACTIVE = activated(
  after(activated(SETTLED, "one"), seen("two"), stageDone("two")),
  "two",
);

describe("the course", () => {
  test("stages what is wanted, then activates it, then proves it", () => {
    const wanted = after(QUIET, seen("one"));
    expect(commandOf(wanted)).toEqual({ kind: "stage", id: "one" });
    const turn = { to: "one", why: "activate", undoes: null };
    expect(commandOf(after(wanted, stageDone("one")))).toEqual({ kind: "turn", turn } as Command);
    const active = after(SETTLED, { type: "turn-begun", turn } as CourseEvent, {
      type: "turn-done",
    });
    expect(active).toMatchObject({ active: "one", staged: null, previous: null, turn: null });
    expect(commandOf(active)).toMatchObject({ kind: "prove", id: "one" });
    expect(commandOf(activated(SETTLED, "one"))).toBeNull();
  });

  test("goes on with the newest inputs, and what is staged gives way to them", () => {
    const course = after(QUIET, seen("one"));
    const staging: Command = { kind: "stage", id: "one" };
    expect(givesWay(staging, course, around())).toBe(false);
    const newer = after(course, seen("two"));
    expect(givesWay(staging, newer, around())).toBe(true);
    // It ended whole just then: it is not wanted any more all the same.
    expect(after(newer, stageDone("one"))).toBe(newer);
    expect(commandOf(newer)).toEqual({ kind: "stage", id: "two" });
  });

  test("waits for an operator or for a window, where it is to", () => {
    expect(decide(SETTLED, around("manual"))).toMatchObject({
      command: null,
      hold: { kind: "operator" },
    });
    const windows = { windows: [NIGHT], timeZone: undefined };
    const opensMs = Date.UTC(2026, 0, 5, 22);
    expect(decide(SETTLED, around(windows))).toMatchObject({
      command: null,
      hold: { kind: "window", untilMs: opensMs },
    });
    const due = { ...SETTLED, dueMs: { ...dueMs, resync: opensMs + HOUR_MS } };
    expect(commandOf(due, windows, opensMs)).toMatchObject({ kind: "turn" });
    expect(commandOf(after(SETTLED, { type: "asked-activate" }), "manual")).toMatchObject({
      kind: "turn",
    });
  });

  test("goes back to the previous revision, and does not come again by itself", () => {
    const ordered = after(TWO_ACTIVE, { type: "asked-rollback" });
    expect(ordered.turn).toEqual({ to: "one", why: "roll-back", undoes: "two" });
    const back = after(ordered, { type: "turn-done" });
    expect(back).toMatchObject({
      ...{ active: "one", staged: "two", previous: null, rolledBack: "two", wanted: "two" },
    });
    const rested = after(back, proven("one"));
    expect(decide(rested, around())).toMatchObject({
      command: null,
      hold: { kind: "rolled-back" },
    });
    // Whatever the tags that it names bring.
    expect(commandOf(after(rested, stageDone("two")))).toBeNull();
    expect(commandOf(after(rested, { type: "asked-activate" }))).toMatchObject({ kind: "turn" });
    // With the inputs of before nothing is left to be activated.
    expect(after(rested, seen("one"))).toMatchObject({ wanted: "one", staged: null });
    const changed = after(rested, seen("three"), seen("two"));
    expect(commandOf(changed)).toMatchObject({ kind: "turn", turn: { to: "two" } });
  });

  test("goes back to what is active from an activation that has failed half way", () => {
    const staged = after(TWO_ACTIVE, seen("three"), stageDone("three"));
    const turn = { to: "three", why: "activate", undoes: null } as const;
    const retryMs = START_MS + 1_000;
    const failed = after(staged, { type: "turn-begun", turn }, { type: "turn-failed", retryMs });
    expect(decide(failed, around())).toMatchObject({
      command: null,
      hold: { kind: "turn-retry", untilMs: retryMs, attempt: 1 },
    });
    expect(commandOf(failed, "immediate", retryMs)).toMatchObject({ kind: "turn" });
    expect(rollbackOf(failed)).toEqual({ to: "two", why: "roll-back", undoes: "three" });
    const back = after(failed, { type: "asked-rollback" }, { type: "turn-done" });
    expect(back).toMatchObject({
      ...{ active: "two", previous: "one", staged: "three", rolledBack: "three", turnRetry: null },
    });
  });

  const failing = (course: Course, turn: Turn, retryMs = START_MS + 1_000) =>
    after(course, { type: "turn-begun", turn }, { type: "turn-failed", retryMs });
  const turnTo = (to: string): Turn => ({ to, why: "activate", undoes: null });

  test("lets newer inputs take the place of an activation that fails, also of the first of all", () => {
    for (const course of [SETTLED, after(TWO_ACTIVE, seen("one"), stageDone("one"))]) {
      const failed = failing(course, turnTo("one"));
      const newer = after(failed, seen("three"), stageDone("three"));
      expect(commandOf(newer)).toEqual({ kind: "turn", turn: turnTo("three") });
      // It has not failed yet, so nothing is put off.
      const begun = after(newer, { type: "turn-begun", turn: turnTo("three") });
      expect(begun.turnRetry).toBeNull();
      expect(activated(newer, "three")).toMatchObject({ active: "three", turn: null });
      expect(activated(newer, "three").previous).toBe(course.active);
      // Who activates by hand gets the newer one; by itself it waits for that, and goes on trying.
      expect(commandOf(newer, "manual")).toBeNull();
      expect(decide(newer, around("manual")).hold?.kind).toBe("turn-retry");
      expect(commandOf(after(newer, { type: "asked-activate" }), "manual")).toMatchObject({
        turn: { to: "three" },
      });
    }
  });

  test("lets newer inputs take the place of a rollback that fails, but not what is taken back", () => {
    const turn: Turn = { to: "one", why: "roll-back", undoes: "two" };
    const failed = failing(TWO_ACTIVE, turn);
    expect(commandOf(after(failed, stageDone("two", true)))).toBeNull();
    const newer = after(failed, seen("three"), stageDone("three"));
    expect(commandOf(newer)).toEqual({ kind: "turn", turn: turnTo("three") });
    // Or who ordered it thinks better of it.
    expect(after(failed, { type: "asked-activate" }).turn).toEqual(turnTo("two"));
  });

  test("tries a failed activation at once when the inputs were read again, ever more seldom if they don't help", () => {
    const failed = after(failing(SETTLED, turnTo("one")), { type: "inputs-changed" });
    expect(commandOf(failed)).toMatchObject({ kind: "turn" });
    const again = after(failed, { type: "turn-failed", retryMs: later });
    expect(again.turnRetry).toEqual({ attempt: 2, atMs: later });
  });

  test("does the activation of the active revision again when it is told to, or its files are gone", () => {
    const told = after(TWO_ACTIVE, { type: "asked-activate" });
    expect(commandOf(told, "manual")).toEqual({ kind: "turn", turn: turnTo("two") });
    const drifted = after(TWO_ACTIVE, { type: "drifted", id: "two" });
    expect(commandOf(drifted)).toEqual({ kind: "turn", turn: turnTo("two") });
    expect(decide(drifted, around("manual"))).toMatchObject({
      command: null,
      hold: { kind: "operator" },
    });
    for (const course of [told, drifted]) {
      const done = activated(course, "two");
      expect(done).toMatchObject({
        active: "two",
        previous: "one",
        staged: null,
        rolledBack: null,
      });
      expect(commandOf(done)).toBeNull();
    }
    // A way out when just that fails.
    expect(rollbackOf(failing(told, turnTo("two")))).toEqual({
      ...{ to: "one", why: "roll-back", undoes: "two" },
    });
  });

  test("leaves what an operator took back where it is, whatever happened to the files", () => {
    const back = after(TWO_ACTIVE, { type: "asked-rollback" }, { type: "turn-done" });
    expect(after(back, { type: "drifted", id: "one" })).toBe(back);
    expect(after(back, { type: "drifted", id: "two" })).toBe(back);
  });

  test("looks after the site while a delivery stands still, and then has it go on", () => {
    const waiting = after(activated(SETTLED, "one"), seen("two"));
    const staging: Command = { kind: "stage", id: "two" };
    const stalled = { ...around(), isStalled: true };
    const asked = after(waiting, { type: "asked-prove", full: true });
    const due = { ...waiting, dueMs: { ...dueMs, collect: START_MS } };
    expect(givesWay(staging, asked, around())).toBe(false);
    expect(commandOf(asked)).toMatchObject({ kind: "prove", full: true });
    expect(commandOf(due)).toEqual(staging);
    for (const course of [asked, due]) expect(givesWay(staging, course, stalled)).toBe(true);
    expect(decide(due, stalled).command).toMatchObject({ kind: "collect" });
    expect(givesWay(staging, waiting, stalled)).toBe(false);
    expect(decide(waiting, stalled).command).toEqual(staging);
  });

  test("proves again once the inputs were read or the registry serves, and after content was found wrong", () => {
    const active = activated(SETTLED, "one");
    for (const event of [{ type: "inputs-changed" }, { type: "registry-up" }] as const) {
      expect(commandOf(after(active, event))).toMatchObject({ kind: "prove" });
      expect(after(active, event).isProven).toBe(true);
    }
    const wrong = after(active, { type: "verified", ok: false, nextMs: later });
    expect(wrong.isProven).toBe(false);
    expect(commandOf(after(wrong, stageDone("one", false)))).toMatchObject({ kind: "prove" });
  });

  test("tries a failed delivery again later, and at once when there is reason to", () => {
    const retryMs = START_MS + 60_000;
    const failed = after(QUIET, seen("one"), { type: "stage-failed", id: "one", retryMs });
    expect(decide(failed, around())).toMatchObject({
      command: null,
      hold: { kind: "stage-retry", untilMs: retryMs, attempt: 1 },
      wakeMs: retryMs,
    });
    expect(commandOf(failed, "immediate", retryMs)).toMatchObject({ kind: "stage" });
    for (const reason of [
      { type: "inputs-changed" },
      { type: "asked-stage" },
      seen("two"),
    ] as const) {
      expect(commandOf(after(failed, reason))).toMatchObject({ kind: "stage" });
    }
  });

  test("moves nothing while it is paused, but what an operator orders", () => {
    const paused = after(QUIET, { type: "asked-pause" }, seen("one"));
    expect(decide(paused, around())).toMatchObject({ command: null, hold: { kind: "paused" } });
    expect(givesWay({ kind: "stage", id: "one" }, paused, around())).toBe(true);
    const staged = after(SETTLED, { type: "asked-pause" });
    expect(decide(staged, around())).toMatchObject({ command: null, hold: { kind: "paused" } });
    expect(commandOf(after(staged, { type: "asked-activate" }))).toMatchObject({ kind: "turn" });
    const resumed = after(paused, { type: "asked-resume" });
    expect(commandOf(resumed)).toMatchObject({ kind: "stage" });
  });

  test("resolves tags again when it is time, and activates what that brought", () => {
    const active = activated(SETTLED, "one");
    const due = { ...active, dueMs: { ...dueMs, resync: START_MS } };
    expect(commandOf(due)).toEqual({ kind: "stage", id: "one" });
    expect(commandOf(after(due, stageDone("one", false)))).toBeNull();
    const moved = after(due, stageDone("one", true));
    expect(commandOf(moved)).toMatchObject({ kind: "turn", turn: { to: "one" } });
    expect(activated({ ...moved, previous: "zero" }, "one").previous).toBe("zero");
  });

  test("looks after the store when it is time: collects only what a good proof allows", () => {
    const active = activated(SETTLED, "one");
    const at = (chore: "prove" | "verify" | "collect") => ({
      ...active,
      dueMs: { ...dueMs, [chore]: START_MS },
    });
    expect(commandOf(at("prove"))).toMatchObject({ kind: "prove", full: false });
    expect(commandOf(at("verify"))).toMatchObject({ kind: "verify", scope: "sample" });
    expect(commandOf(at("collect"))).toMatchObject({ kind: "collect", dryRun: false });
    expect(commandOf({ ...at("collect"), isProven: false })).toBeNull();
    // A time that lies farther ahead than the period: the clock was set back.
    const ahead = { ...active, dueMs: { ...dueMs, prove: START_MS + 48 * HOUR_MS } };
    expect(commandOf(ahead)).toMatchObject({ kind: "prove" });
  });

  test("fetches again what a proof misses or a re-hash finds wrong", () => {
    const active = activated(SETTLED, "one");
    const wanting = after(active, proven("one", false));
    expect(commandOf(wanting)).toMatchObject({ kind: "stage", id: "one" });
    // What did not help is not done again with each look.
    expect(commandOf(after(active, proven("one", false, false)))).toBeNull();
    const wrong = after(active, { type: "verified", ok: false, nextMs: later });
    expect(commandOf(wrong)).toMatchObject({ kind: "stage", id: "one" });
  });

  test("looks first at what was written by an agent that died", () => {
    const unclean = { ...SETTLED, isUnclean: true };
    expect(commandOf(unclean)).toMatchObject({ kind: "verify", scope: "since-unclean" });
    expect(commandOf(after(unclean, { type: "verified", ok: true, nextMs: later }))).toMatchObject({
      kind: "turn",
    });
  });

  test("lets what runs by itself give way to a delivery, and what was asked for to a turn only", () => {
    const wanting = after(QUIET, seen("one"));
    const own: Command = { kind: "collect", dryRun: false, asked: false };
    expect(givesWay(own, wanting, around())).toBe(true);
    expect(givesWay({ ...own, asked: true }, wanting, around())).toBe(false);
    expect(givesWay({ ...own, asked: true }, SETTLED, around())).toBe(true);
    expect(
      givesWay({ kind: "stage", id: "one" }, after(SETTLED, { type: "asked-stage" }), around()),
    ).toBe(true);
  });
});

/** What the world does next in a random life of an agent. */
type Step =
  | { readonly do: "see"; readonly id: string }
  | { readonly do: "ask"; readonly event: CourseEvent }
  | { readonly do: "drift" }
  | { readonly do: "work"; readonly ok: boolean; readonly moved: boolean }
  | { readonly do: "wait"; readonly hours: number };

const ids = fc.constantFrom("a", "b", "c");
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant("see" as const), id: ids }),
  fc.record({
    do: fc.constant("ask" as const),
    event: fc.constantFrom<CourseEvent>(
      ...(["stage", "activate", "rollback", "pause", "resume", "verify"] as const).map(
        (name) => ({ type: `asked-${name}` }) as CourseEvent,
      ),
    ),
  }),
  fc.record({
    do: fc.constant("ask" as const),
    event: fc.constantFrom<CourseEvent>({ type: "inputs-changed" }, { type: "registry-up" }),
  }),
  fc.record({ do: fc.constant("drift" as const) }),
  fc.record({ do: fc.constant("work" as const), ok: fc.boolean(), moved: fc.boolean() }),
  fc.record({ do: fc.constant("wait" as const), hours: fc.integer({ min: 0, max: 200 }) }),
);

test("in any life, only what is staged whole is turned to, and nothing by itself that was taken back", () => {
  const policies = fc.constantFrom<ActivationPolicy>("immediate", "manual", {
    windows: [NIGHT],
    timeZone: undefined,
  });
  fc.assert(
    fc.property(policies, fc.array(steps, { maxLength: 60 }), (policy, life) => {
      let course = NEW_COURSE;
      let nowMs = START_MS;
      const whole = new Set<string>();
      const nextMs = () => nowMs + HOUR_MS;
      const work = ({ ok, moved }: Extract<Step, { do: "work" }>) => {
        const { command, wakeMs } = decide(course, around(policy, nowMs));
        expect(wakeMs).toBeGreaterThan(nowMs);
        if (command === null) return;
        expect(givesWay(command, course, around(policy, nowMs))).toBe(false);
        switch (command.kind) {
          case "stage": {
            const { id } = command;
            expect({ id, isPaused: course.isPaused }).toEqual({
              id: course.wanted ?? "",
              isPaused: false,
            });
            if (ok) whole.add(id);
            course = ok
              ? follow(course, { type: "stage-done", id, hasMoved: moved, nextMs: nextMs() })
              : follow(course, { type: "stage-failed", id, retryMs: nextMs() });
            return;
          }
          case "turn": {
            const { turn } = command;
            expect(whole).toContain(turn.to);
            // Neither ordered nor begun before.
            if (course.turn?.to !== turn.to || course.turn.why !== turn.why) {
              expect(policy).not.toBe("manual");
              expect({ to: turn.to, isPaused: course.isPaused }).toEqual({
                to: course.wanted ?? "",
                isPaused: false,
              });
              expect(turn.to).not.toBe(course.rolledBack ?? "");
            }
            course = follow(course, { type: "turn-begun", turn });
            course = follow(
              course,
              ok ? { type: "turn-done" } : { type: "turn-failed", retryMs: nextMs() },
            );
            if (ok) expect(course.active).toBe(turn.to);
            return;
          }
          case "prove":
            expect(command.id).toBe(course.active ?? "");
            course = follow(course, { ...proven(command.id, ok, moved), nextMs: nextMs() });
            return;
          case "verify":
            course = follow(course, { type: "verified", ok, nextMs: nextMs() });
            return;
          case "collect":
            expect(course.isProven || course.asked.collect !== null).toBe(true);
            course = follow(course, { type: "collected", nextMs: nextMs() });
        }
      };
      for (const step of life) {
        if (step.do === "see") course = follow(course, { type: "seen", id: step.id, nowMs });
        else if (step.do === "drift") {
          course = follow(course, { type: "drifted", id: course.active ?? "" });
        } else if (step.do === "ask") course = follow(course, step.event);
        else if (step.do === "wait") nowMs += step.hours * HOUR_MS;
        else work(step);
        for (const role of ["active", "staged", "previous"] as const) {
          const id = course[role];
          if (id !== null) expect(whole).toContain(id);
        }
        expect(course.previous === null || course.previous !== course.active).toBe(true);
      }
      // In the end it comes to rest, with what is wanted, unless somebody else decides.
      course = follow(
        { ...course, isPaused: false, turnRetry: null, stageRetry: null },
        { type: "asked-resume" },
      );
      for (let i = 0; i < 10; i += 1) work({ do: "work", ok: true, moved: false });
      const hold = decide(course, around(policy, nowMs)).hold;
      if (policy === "immediate" && hold === null) expect(course.active).toBe(course.wanted);
    }),
    { numRuns: FUZZ_RUNS },
  );
});
