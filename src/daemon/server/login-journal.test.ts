import { expect, test } from "bun:test";
import { createEventClock } from "#test-support/event-clock";
import { LoginJournal } from "./login-journal.ts";

test("the first failed login is told at once, those of the minute after it as one sum, without names", async () => {
  const clock = createEventClock(0);
  const lines: unknown[] = [];
  const logins = new LoginJournal({
    clock,
    signal: new AbortController().signal,
    journal: { add: async (kind, data) => void lines.push([kind, data["text"], data["level"]]) },
  });
  const pass = (ms: number) => clock.run(clock.sleep(ms, new AbortController().signal));
  logins.failed("10.0.0.9");
  expect(lines).toEqual([["login-failed", "A login from 10.0.0.9 failed", "warning"]]);
  for (let i = 0; i < 500; i += 1) logins.failed(`10.0.1.${i % 3}`);
  await pass(59_000);
  expect(lines).toHaveLength(1);
  await pass(2_000);
  expect(lines).toEqual([
    expect.anything(),
    ["login-failed", "500 logins from 3 addresses failed within a minute", "warning"],
  ]);
  await pass(600_000);
  expect(lines).toHaveLength(2);
  logins.failed("10.0.0.9");
  expect(lines).toHaveLength(3);
});

test("a journal that can't be written keeps nobody out", async () => {
  const clock = createEventClock(0);
  const logins = new LoginJournal({
    clock,
    signal: new AbortController().signal,
    journal: { add: () => Promise.reject(new Error("full")) },
  });
  logins.failed("10.0.0.9");
  await clock.run(clock.sleep(120_000, new AbortController().signal));
  expect(() => logins.failed("10.0.0.9")).not.toThrow();
});
