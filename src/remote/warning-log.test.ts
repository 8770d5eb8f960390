import { expect, test } from "bun:test";
import { type RemoteNotice, WarningLog } from "./warning-log.ts";

test("a warning is escaped, bounded, and never repeated; a registry's warnings come to an end (SEC-24)", () => {
  const notices: RemoteNotice[] = [];
  const log = new WarningLog((notice) => notices.push(notice));
  log.note("a.io", '299 - "evil \u202etext"');
  log.note("a.io", '299 - "evil \u202etext"');
  log.note("b.io", '299 - "evil \u202etext"');
  expect(notices).toEqual([
    { registry: "a.io", message: "evil \\u202etext" },
    { registry: "b.io", message: "evil \\u202etext" },
  ]);
  log.note("c.io", `299 - "${"x".repeat(1000)}"`);
  expect(notices[2]?.message.length).toBeLessThan(300);
  for (let i = 0; i < 100; i += 1) log.note("d.io", `299 - "${i}"`);
  expect(notices).toHaveLength(23);
});
