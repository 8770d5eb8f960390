import { expect, test } from "bun:test";
import { error, Warnings, warning } from "./warnings.ts";

const trouble = (code: string) => ({ code, message: `${code} happened`, hint: "Do" });

test("what two sources warn of is told once, as the worse, since when it first held", () => {
  const warnings = new Warnings();
  warnings.set("plan", [warning(trouble("x"), "image")], 1);
  warnings.set("delivery", [error(trouble("x"), "image"), warning(trouble("y"))], 2);
  expect(warnings.all).toEqual([
    { level: "error", ...trouble("x"), subject: "image", sinceMs: 1 },
    { level: "warning", ...trouble("y"), subject: "", sinceMs: 2 },
  ]);
  // Also when the worse was there first.
  warnings.set("proof", [warning(trouble("x"), "image")], 2);
  expect(warnings.all[0]?.level).toBe("error");
  warnings.set("proof", [], 2);
  warnings.set("delivery", [], 3);
  expect(warnings.all.map(({ level, sinceMs }) => [level, sinceMs])).toEqual([["warning", 1]]);
  warnings.set("plan", [], 4);
  warnings.set("plan", [warning(trouble("x"), "image")], 5);
  expect(warnings.all[0]?.sinceMs).toBe(5);
});

test("they are bounded, and errors are not crowded out", () => {
  const warnings = new Warnings();
  warnings.set(
    "plan",
    Array.from({ length: 1_000 }, (_, i) => warning(trouble("x"), `${i}`)),
    1,
  );
  warnings.set("proof", [error(trouble("y"))], 2);
  expect(warnings.all).toHaveLength(200);
  expect(warnings.all[0]?.code).toBe("y");
});
