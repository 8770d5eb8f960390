import { expect, test } from "bun:test";
import { SingleFlight } from "./single-flight.ts";

test("SingleFlight joins calls of one key, and none of another", async () => {
  const flights = new SingleFlight<number>();
  const gate = Promise.withResolvers<void>();
  let calls = 0;
  const call = async () => {
    calls += 1;
    const own = calls;
    await gate.promise;
    return own;
  };
  const results = [flights.run("a", call), flights.run("a", call), flights.run("b", call)];
  gate.resolve();
  expect(await Promise.all(results)).toEqual([1, 1, 2]);
});

test("SingleFlight remembers neither results nor failures", async () => {
  const flights = new SingleFlight<number>();
  await expect(flights.run("a", () => Promise.reject(new Error("first")))).rejects.toThrow("first");
  expect(await flights.run("a", async () => 2)).toBe(2);
  expect(await flights.run("a", async () => 3)).toBe(3);
});

test("SingleFlight forgets a task that throws before it gives a promise", async () => {
  const flights = new SingleFlight<number>();
  const broken = () => {
    throw new Error("at once");
  };
  expect(() => flights.run("a", broken)).toThrow("at once");
  expect(await flights.run("a", async () => 2)).toBe(2);
});
