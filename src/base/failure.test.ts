import { expect, test } from "bun:test";
import { Failure, isFailure, systemErrorCode } from "./failure.ts";

test("a Failure carries what a person and a program need", () => {
  const cause = new Error("below");
  const failure = new Failure({ code: "a-b", message: "Cannot x", hint: "Do y", cause });
  expect(failure).toBeInstanceOf(Error);
  expect(failure).toMatchObject({
    name: "Failure",
    code: "a-b",
    hint: "Do y",
    transient: false,
    cause,
  });
  expect(failure.retryAfterMs).toBeUndefined();
  expect("cause" in new Failure({ code: "a", message: "m", hint: "h" })).toBe(false);
});

test("isFailure() tells failures from bugs, and one code from another", () => {
  const failure = new Failure({ code: "a-b", message: "m", hint: "h", transient: true });
  expect([isFailure(failure), isFailure(failure, "a-b"), isFailure(failure, "c")]).toEqual([
    ...[true, true, false],
  ]);
  expect(isFailure({ code: "a-b", message: "m" })).toBe(false);
  expect(isFailure(undefined)).toBe(false);
});

test("systemErrorCode() reads the code of a system error, and of nothing else", () => {
  expect(systemErrorCode(Object.assign(new Error("x"), { code: "ENOSPC" }))).toBe("ENOSPC");
  expect([new Error("x"), { code: 20 }, null, undefined, "ENOSPC"].map(systemErrorCode)).toEqual([
    ...[undefined, undefined, undefined, undefined, undefined],
  ]);
});
