import { expect, test } from "bun:test";
import { assert, assertNever } from "./assert.ts";
import { isFailure } from "./failure.ts";

test("a broken assertion is a bug and no Failure", () => {
  expect(() => assert(true, "it holds")).not.toThrow();
  expect(() => assert(0, "zero is something")).toThrow("Broken assertion: zero is something");
  try {
    assertNever("left over" as never);
  } catch (error) {
    expect(error).toHaveProperty("message", 'Broken assertion: unexpected "left over"');
    expect(isFailure(error)).toBe(false);
  }
  expect.assertions(4);
});
