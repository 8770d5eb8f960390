import { expect, test } from "bun:test";
import { Failure, isFailure } from "#base";
import { heardFailure, toldFailure } from "./told-failure.ts";

test("a failure is heard as it was told, without what caused it", () => {
  for (const transient of [true, false]) {
    const failure = new Failure({
      ...{ code: "store-full", message: "Cannot write", hint: "Make room", transient },
      cause: new Error("hunter2"),
    });
    const told = JSON.stringify(toldFailure(failure));
    expect(told).not.toContain("hunter2");
    const heard = heardFailure(JSON.parse(told));
    expect(isFailure(heard, "store-full")).toBe(true);
    expect(heard).toMatchObject({ message: "Cannot write", hint: "Make room", transient });
    expect(heard.cause).toBeUndefined();
  }
});
