import { expect, test } from "bun:test";
import { assert } from "./assert.ts";
import { isFailure } from "./failure.ts";

test("a broken assertion is a bug and no Failure", () => {
  expect(() => assert(true, "it holds")).not.toThrow();
  expect(() => assert(0, "zero is something")).toThrow("Broken assertion: zero is something");
  try {
    assert(false, "nothing is left over");
  } catch (error) {
    expect(error).toHaveProperty("message", "Broken assertion: nothing is left over");
    expect(isFailure(error)).toBe(false);
  }
  expect.assertions(4);
});
