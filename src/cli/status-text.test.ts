import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import {
  deliveringScript,
  failureScript,
  journalEntry,
  NOON,
  readyScript,
  siteState,
} from "#test-support/page-states";
import { entryLines } from "./journal-text.ts";
import { paintAnsi, paintNothing, wrap } from "./screen-text.ts";
import { isJournalEntry, isSiteState } from "./site-state-check.ts";
import { type StatusView, statusLines } from "./status-text.ts";

const VIEW: StatusView = { columns: 80, paint: paintNothing, nowMs: NOON, timeZone: "UTC" };

/** All that a state can have, and no state that was ever seen together. */
const FULL = siteState({
  ...failureScript().state,
  refused: {
    ...{ source: "/etc/drayage/profile.yaml", atMs: NOON },
    faults: [
      {
        ...{ file: "profile.yaml", line: 3, column: 7, path: "x", code: "image-invalid" },
        ...{ message: "Cannot read the image", remedy: "Write it anew" },
      },
    ],
  },
  delivery: deliveringScript().state.delivery,
  paused: { sinceMs: NOON - 60_000, by: "root" },
  activity: {
    ...{ name: "idle", sinceMs: NOON - 240_000 },
    waiting: { reason: "no window is open", sinceMs: NOON, untilMs: NOON + 36 * 3_600_000 },
  },
  activation: {
    ...{ outcome: "failed", atMs: NOON - 1_000 },
    steps: [{ name: "redirect", outcome: "failed", text: "no right to write" }],
  },
  parts: [
    {
      ...{ name: "registry", state: "restarting", sinceMs: NOON, restarts: 3, nextMs: NOON },
      trouble: { code: "a", message: "The port is taken", hint: "b" },
    },
  ],
});

describe("statusLines()", () => {
  test("a site that is ready fits a terminal of 24 lines", () => {
    const lines = statusLines(readyScript().state, VIEW);
    expect(lines[0]).toStartWith("READY        This site is ready offline");
    expect(lines).toContain("now          idle for 20 min");
    expect(lines).toContain("proof        16 of 16 references held 20 min ago");
    expect(lines).toContain("link         at most 2.5 MB/s until 18:00");
    expect(lines.length).toBeLessThan(24);
  });

  test("a delivery shows how far it is, how fast, and when it will end", () => {
    const text = statusLines(deliveringScript().state, { ...VIEW, columns: 120 }).join("\n");
    expect(text).toMatch(/\[#+\.+\] [\d.]+ GB of [\d.]+ GB, [\d.]+ MB\/s, about \d+ min left\n/);
    expect(text).toContain("provider 1 of 1, infrastructure 5 of 8, application 0 of 7\n");
  });

  test("what needs a person stands before everything else, with what to do", () => {
    const lines = statusLines(FULL, { ...VIEW, columns: 120 });
    const at = (text: string) => lines.findIndex((line) => line.includes(text));
    expect(at("refused      /etc/drayage/profile.yaml has 1 fault")).toBe(3);
    expect(lines[4]).toContain("profile.yaml:3:7: Cannot read the image [image-invalid]");
    expect(lines[5]).toContain("do: Write it anew");
    expect(at("warnings")).toBeLessThan(at("site  "));
    expect(at("waiting until 2026-11-25 00:00: no window is open")).toBeGreaterThan(0);
    expect(at("paused by root for 60 s")).toBeGreaterThan(0);
    expect(at("redirect failed: no right to write")).toBeGreaterThan(0);
    expect(at("registry restarting: The port is taken, tried again at 12:00")).toBeGreaterThan(0);
  });

  test("what has no remedy has no line for one", () => {
    const warning = {
      code: "delivery-warning",
      message: "It stands",
      hint: "",
      subject: "quay.io/x",
    };
    const state = siteState({ warnings: [{ ...warning, level: "warning", sinceMs: NOON }] });
    const text = statusLines(state, VIEW).join("\n");
    expect(text).toContain("warning: quay.io/x: It stands [delivery-warning]");
    expect(text).not.toContain("do:");
  });

  test("what is on its way is named beside what is active", () => {
    const lines = statusLines(deliveringScript().state, VIEW);
    expect(lines.find((line) => line.startsWith("wanted "))).toContain("c93f6e01b7d4");
  });

  test("colours repeat the words: without them the text is the same", () => {
    const painted = statusLines(FULL, { ...VIEW, paint: paintAnsi }).join("\n");
    expect(painted).toContain("\u001b[31mFAILED\u001b[0m");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the codes of colours are made of one
    expect(painted.replace(/\u001b\[\d+m/g, "")).toBe(statusLines(FULL, VIEW).join("\n"));
  });

  test("no line is wider than the terminal, however long the words are", () => {
    const message = `${"x".repeat(300)} \u{1f6a2}${"é".repeat(90)}`;
    const state = { ...FULL, verdict: { ...FULL.verdict, sentence: message, remedy: message } };
    for (const columns of [40, 41, 80, 100, 300]) {
      const lines = statusLines(state, { ...VIEW, columns });
      expect(lines.filter((line) => [...line].length >= columns)).toEqual([]);
    }
  });

  test("what an agent says can't steer the terminal", () => {
    const evil = "\u001b[2J\u001b]0;owned\u0007\r\n\u202e";
    const fixed = ["apiVersion", "kind", "level"];
    const state: unknown = JSON.parse(JSON.stringify(FULL), (key, value) =>
      typeof value === "string" && !fixed.includes(key) ? evil + value : value,
    );
    if (!isSiteState(state)) throw new Error("It is no state any more");
    const lines = statusLines(state, VIEW).join("");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    expect(lines).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  });
});

/** Anything that JSON can say, in the place of any part of the value. */
function damaged(value: unknown): fc.Arbitrary<unknown> {
  const places: (readonly (string | number)[])[] = [];
  const walk = (part: unknown, path: readonly (string | number)[]) => {
    places.push(path);
    if (Array.isArray(part)) for (const [i, each] of part.entries()) walk(each, [...path, i]);
    else if (typeof part === "object" && part !== null) {
      for (const [key, each] of Object.entries(part)) walk(each, [...path, key]);
    }
  };
  walk(value, []);
  const json = fc.oneof(fc.jsonValue(), fc.constant(undefined), fc.constantFrom(-1, 1e308, -1e15));
  return fc.tuple(fc.constantFrom(...places), json).map(([path, other]) => {
    const copy = { root: structuredClone(value) };
    let parent: Record<string | number, unknown> = copy as never;
    let key: string | number = "root";
    for (const next of path) {
      parent = parent[key] as never;
      key = next;
    }
    parent[key] = other;
    return copy.root;
  });
}

describe("what a stranger answers", () => {
  test("is refused as no state, or can be shown", () => {
    expect(isSiteState(FULL)).toBe(true);
    fc.assert(
      fc.property(damaged(FULL), (state) => {
        if (isSiteState(state)) expect(statusLines(state, VIEW).length).toBeGreaterThan(3);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("is refused as no line of a journal, or can be shown", () => {
    const entry = journalEntry(1, "It is done");
    expect(isJournalEntry(entry)).toBe(true);
    fc.assert(
      fc.property(
        damaged({ ...entry, data: { output: ["a"], failure: { code: "x" } } }),
        (line) => {
          if (isJournalEntry(line)) expect(entryLines(line).length).toBeGreaterThan(0);
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("wrap()", () => {
  test("keeps all words in order, and every line within the width", () => {
    const width = fc.integer({ min: 1, max: 60 });
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), width, (text, width) => {
        const lines = wrap(text, width);
        expect(lines.filter((line) => [...line].length > width)).toEqual([]);
        expect(lines.join("").replaceAll(" ", "")).toBe(text.replaceAll(" ", ""));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});
