import { describe, expect, test } from "bun:test";
import {
  type CredentialObservation,
  type CredentialState,
  CredentialWatch,
  type Expiry,
  isBroken,
  type TrialOutcome,
  WARN_BEFORE_MS,
} from "#credential";

const NOW = Date.UTC(2026, 10, 1);
const HOUR = 3_600_000;

const ACCEPTED: TrialOutcome = { kind: "accepted" };
const refused = (code: string): TrialOutcome => {
  return { kind: "refused", code, message: "Cannot fetch x: it says no", hint: "Check it" };
};
const DOWN: TrialOutcome = {
  ...{ kind: "unreachable", code: "registry-unreachable" },
  ...{ message: "Cannot fetch x: nobody answers", hint: "Check the link" },
};

function seen(
  outcome: TrialOutcome,
  expiries: readonly Expiry[] = [],
  more: Partial<CredentialObservation> = {},
): CredentialObservation {
  const subject = { registry: "a.io", role: "external", origin: "user-data:x" } as const;
  return { ...subject, image: "a.io/x:1", atMs: NOW, outcome, expiries, ...more };
}

const ends = (what: Expiry["what"], inMs: number): Expiry => {
  return { what, name: "CN=a.io", endsMs: NOW + inMs };
};

function judge(...given: Parameters<typeof seen>) {
  return new CredentialWatch().observe(seen(...given)).report;
}

describe("what is made of one look", () => {
  test.each<[string, TrialOutcome, readonly Expiry[], CredentialState]>([
    ["let in", ACCEPTED, [], "ok"],
    ["let in, and all ends later", ACCEPTED, [ends("token", WARN_BEFORE_MS + 1)], "ok"],
    ["let in, with a token that ends", ACCEPTED, [ends("token", WARN_BEFORE_MS)], "expires-soon"],
    [
      "let in, with a certificate that ends",
      ACCEPTED,
      [ends("server-certificate", HOUR)],
      "expires-soon",
    ],
    ["let in, with an authority that ends", ACCEPTED, [ends("authority", HOUR)], "expires-soon"],
    ["let in, although an old authority is over", ACCEPTED, [ends("authority", -HOUR)], "ok"],
    ["let in, although its end has come", ACCEPTED, [ends("token", 0)], "ok"],
    ["refused", refused("registry-unauthorized"), [], "refused"],
    ["refused, the token over", refused("registry-unauthorized"), [ends("token", 0)], "expired"],
    [
      "refused, an authority over that has no part in it",
      refused("registry-unauthorized"),
      [ends("authority", -HOUR)],
      "refused",
    ],
    [
      "not trusted, its certificate over",
      refused("registry-certificate"),
      [ends("server-certificate", -HOUR)],
      "expired",
    ],
    [
      "not trusted, the authority over",
      refused("registry-certificate"),
      [ends("authority", -HOUR)],
      "expired",
    ],
    [
      "not trusted, nothing over",
      refused("registry-certificate"),
      [ends("authority", HOUR)],
      "refused",
    ],
    [
      "not trusted, the token over that has no part in it",
      refused("registry-certificate"),
      [ends("token", -HOUR)],
      "refused",
    ],
    ["not reached", DOWN, [], "unreachable"],
    ["not reached, the token over", DOWN, [ends("token", -HOUR)], "expired"],
    ["not reached, its certificate over", DOWN, [ends("server-certificate", -1)], "unreachable"],
    ["not tried", { kind: "untried", why: "No image" }, [], "untried"],
    [
      "not tried, the token over",
      { kind: "untried", why: "No image" },
      [ends("token", -1)],
      "expired",
    ],
  ])("%s", (_, outcome, expiries, state) => expect(judge(outcome, expiries).state).toBe(state));

  test("only a refusal and an end are broken", () => {
    const states: CredentialState[] = ["ok", "expires-soon", "unreachable", "untried"];
    expect(states.map(isBroken)).toEqual([false, false, false, false]);
    expect([isBroken("refused"), isBroken("expired")]).toEqual([true, true]);
  });

  test("says what ends, whose, on which day and how soon, the soonest first", () => {
    const expiries = [ends("token", 200 * HOUR), ends("server-certificate", 30 * HOUR)];
    expect(judge(ACCEPTED, expiries)).toMatchObject({
      why: "its certificate (CN=a.io) ends on 2026-11-02, in 1d06h",
      hint: expect.stringContaining("renewed"),
    });
  });

  test("says why and what to do where it is refused, over, or not reached", () => {
    expect(judge(refused("registry-denied"))).toMatchObject({
      why: "Cannot fetch x: it says no",
      hint: "Check it",
    });
    expect(judge(refused("registry-unauthorized"), [ends("token", -HOUR)])).toMatchObject({
      why: "the token (CN=a.io) ended on 2026-10-31: Cannot fetch x: it says no",
      hint: expect.stringContaining("new token"),
    });
    expect(judge(DOWN, [ends("token", HOUR)]).why).toContain(
      "nobody answers; the token (CN=a.io) ends",
    );
  });

  test("says with what it was tried where all is well", () => {
    expect(judge(ACCEPTED)).toMatchObject({
      why: "It lets us in, asked for a.io/x:1",
      hint: undefined,
    });
    const open = judge(ACCEPTED, [], { origin: null });
    expect(open.why).toBe("It answers without a credential, asked for a.io/x:1");
  });
});

describe("CredentialWatch", () => {
  test("tells the state before, and how bad the new one is", () => {
    const watch = new CredentialWatch();
    const outcomes = [ACCEPTED, DOWN, refused("registry-denied"), ACCEPTED];
    const events = outcomes.map((outcome) => watch.observe(seen(outcome)));
    expect(events.map(({ previous, severity }) => [previous, severity])).toEqual([
      [undefined, "info"],
      ["ok", "warning"],
      ["unreachable", "error"],
      ["refused", "info"],
    ]);
  });

  test("remembers since when it is so", () => {
    const watch = new CredentialWatch();
    const at = (hours: number, outcome: TrialOutcome) => {
      return watch.observe(seen(outcome, [], { atMs: NOW + hours * HOUR })).report.sinceMs - NOW;
    };
    expect([at(0, ACCEPTED), at(1, DOWN), at(2, DOWN), at(3, ACCEPTED)]).toEqual([
      ...[0, HOUR, HOUR, 3 * HOUR],
    ]);
  });

  test("keeps warning of a certificate that was seen while the registry is not to be reached", () => {
    const watch = new CredentialWatch();
    watch.observe(seen(ACCEPTED, [ends("server-certificate", 20 * 24 * HOUR)]));
    const { report } = watch.observe(seen(DOWN, [], { atMs: NOW + 10 * 24 * HOUR }));
    expect(report.why).toContain("its certificate (CN=a.io) ends on 2026-11-21, in 10d00h");
    const again = watch.observe(seen(ACCEPTED, [], { atMs: NOW + 10 * 24 * HOUR }));
    expect(again.report.state).toBe("ok");
  });

  test("keeps credentials apart by registry and origin, in the order of their first look", () => {
    const watch = new CredentialWatch();
    watch.observe(seen(ACCEPTED, [], { registry: "b.io" }));
    watch.observe(seen(DOWN));
    watch.observe(seen(refused("registry-denied"), [], { registry: "b.io" }));
    expect(watch.reports.map(({ registry, state }) => `${registry} ${state}`)).toEqual([
      "b.io refused",
      "a.io unreachable",
    ]);
  });
});
