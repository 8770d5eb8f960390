import { expect, test } from "bun:test";
import { createManualClock } from "#test-support/clock";
import { failureOf, signal } from "#test-support/remote-world";
import { networkFailure } from "./network-failure.ts";
import { type CallPatience, Reachability } from "./reachability.ts";

const nobody = () =>
  networkFailure({ code: "ECONNREFUSED" }, { subject: '"x"', host: "registry.example" });

/** A call that is under way until it is told how to end. */
function startCall(
  reachability: Reachability,
  callerSignal = signal,
  patience: CallPatience = "full",
  subject = '"x"',
) {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const begun = Promise.withResolvers<void>();
  const call = { patience, errand: { subject }, signal: callerSignal };
  const ended = reachability.run(call, () => {
    begun.resolve();
    return promise;
  });
  return { ended, resolve, reject, begun: begun.promise };
}

test("whoever waits may go as soon as somebody answered, not when the first call has ended", async () => {
  const reachability = new Reachability(createManualClock());
  const first = startCall(reachability);
  await first.begun;
  const second = startCall(reachability);
  reachability.reached();
  await second.begun;
  second.resolve("second");
  expect(await second.ended).toBe("second");
  first.resolve("first");
  expect(await first.ended).toBe("first");
});

test("a call that finds nobody says nothing about a host that answered another one meanwhile", async () => {
  const reachability = new Reachability(createManualClock());
  reachability.reached();
  const call = startCall(reachability);
  await call.begun;
  reachability.reached();
  const failure = nobody();
  reachability.foundNobody(failure);
  call.reject(failure);
  expect(await failureOf(call.ended)).toBe(failure);
  const next = startCall(reachability);
  await next.begun;
  next.resolve("next");
  expect(await next.ended).toBe("next");
});

test("a failure that is not about reaching the host leaves it up, and the next call goes ahead", async () => {
  const reachability = new Reachability(createManualClock());
  const failed = startCall(reachability);
  failed.reject(new Error("something else"));
  await expect(failed.ended).rejects.toThrow("something else");
  const next = startCall(reachability);
  await next.begun;
  next.resolve("next");
  expect(await next.ended).toBe("next");
});

test("whoever waits may give up, and the call ahead goes on", async () => {
  const reachability = new Reachability(createManualClock());
  const first = startCall(reachability);
  await first.begun;
  const caller = new AbortController();
  const second = startCall(reachability, caller.signal);
  caller.abort(new Error("given up"));
  await expect(second.ended).rejects.toThrow("given up");
  first.resolve("first");
  expect(await first.ended).toBe("first");
});

test("what one attempt found is enough for brief calls, and full ones still try", async () => {
  const reachability = new Reachability(createManualClock());
  const failure = nobody();
  const brief = startCall(reachability, signal, "brief");
  reachability.foundNobody(failure);
  brief.reject(failure);
  expect(await failureOf(brief.ended)).toBe(failure);
  expect(await failureOf(startCall(reachability, signal, "brief").ended)).toBe(failure);
  const full = startCall(reachability);
  await full.begun;
  full.reject(failure);
  expect(await failureOf(full.ended)).toBe(failure);
  expect(await failureOf(startCall(reachability).ended)).toBe(failure);
});

test("a call that fails for what another found tells of its own errand", async () => {
  const reachability = new Reachability(createManualClock());
  const first = startCall(reachability);
  await first.begun;
  const failure = nobody();
  reachability.foundNobody(failure);
  first.reject(failure);
  expect(await failureOf(first.ended)).toBe(failure);
  const { message, code, transient } = await failureOf(
    startCall(reachability, signal, "full", '"y"').ended,
  );
  expect({ code, transient }).toEqual({ code: "registry-unreachable", transient: true });
  expect(message).toStartWith('Cannot fetch "y": registry.example refused the connection');
  expect(message).not.toContain('"x"');
});
