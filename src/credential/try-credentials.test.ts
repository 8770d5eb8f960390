import { describe, expect, test } from "bun:test";
import { Failure } from "#base";
import {
  type CredentialEvent,
  type CredentialTrial,
  CredentialWatch,
  type Expiry,
  tryCredentials,
} from "#credential";
import { createManualClock } from "#test-support/clock";

const clock = createManualClock();
const forever = new AbortController().signal;
const CERTIFICATE: Expiry = { what: "server-certificate", name: "CN=a.io", endsMs: 8e12 };

function trial(more: Partial<CredentialTrial> = {}): CredentialTrial {
  return {
    ...{ registry: "a.io", role: "external", origin: "user-data:x", image: "a.io/x:1" },
    expiries: [],
    attempt: async () => undefined,
    serverCertificate: async () => CERTIFICATE,
    ...more,
  };
}

function failing(code: string): CredentialTrial {
  const failure = new Failure({ code, message: "Cannot fetch x: no", hint: "Do y" });
  return trial({ attempt: () => Promise.reject(failure) });
}

async function run(trials: readonly CredentialTrial[], signal = forever) {
  const emit = () => undefined;
  const events = await tryCredentials(trials, new CredentialWatch(), { clock, signal, emit });
  return { events, states: events.map(({ report }) => report.state) };
}

describe("tryCredentials()", () => {
  test.each([
    ["registry-unauthorized", "refused"],
    ["registry-denied", "refused"],
    ["registry-certificate", "refused"],
    ["credential-helper-failed", "refused"],
    ["token-realm-refused", "refused"],
    ["registry-unreachable", "unreachable"],
    ["registry-rate-limited", "unreachable"],
    ["registry-error", "unreachable"],
    ["registry-protocol", "unreachable"],
  ] as const)("takes %s for %s, and says the failure's own words", async (code, state) => {
    const { events } = await run([failing(code)]);
    expect(events).toMatchObject([{ report: { state, why: "Cannot fetch x: no", hint: "Do y" } }]);
  });

  test("takes an image that is not there for a credential that was let in", async () => {
    expect((await run([failing("content-missing")])).states).toEqual(["ok"]);
  });

  test("asks nobody where there is no image to ask for", async () => {
    const asked: string[] = [];
    const idle = trial({
      image: null,
      attempt: async () => void asked.push("registry"),
      serverCertificate: async () => {
        asked.push("certificate");
        return undefined;
      },
    });
    expect((await run([idle])).states).toEqual(["untried"]);
    expect(asked).toEqual([]);
  });

  test("gives events in the order of the trials, and tells them as they come", async () => {
    const other = Promise.withResolvers<void>();
    const slow = trial({ attempt: () => other.promise });
    const quick = trial({ registry: "b.io" });
    const emit = ({ report }: CredentialEvent) => {
      if (report.registry === "b.io") other.resolve();
    };
    const options = { clock, signal: forever, emit };
    const events = await tryCredentials([slow, quick], new CredentialWatch(), options);
    expect(events.map(({ report }) => report.registry)).toEqual(["a.io", "b.io"]);
    expect(events[0]?.report.expiries).toEqual([CERTIFICATE]);
  });

  test("asks no more than eight registries at a time", async () => {
    let running = 0;
    let most = 0;
    const many = Array.from({ length: 20 }, () => {
      return trial({
        async attempt() {
          running += 1;
          most = Math.max(most, running);
          await Promise.resolve();
          running -= 1;
        },
      });
    });
    await run(many);
    expect(most).toBe(8);
  });

  test("ends with the signal's reason, and a bug stays a bug", async () => {
    const giveUp = new AbortController();
    const reason = new Error("given up");
    const attempt = async () => {
      giveUp.abort(reason);
      throw new Failure({ code: "registry-unreachable", message: "m", hint: "h" });
    };
    await expect(run([trial({ attempt })], giveUp.signal)).rejects.toBe(reason);
    const bug = new TypeError("bug");
    await expect(run([trial({ attempt: () => Promise.reject(bug) })])).rejects.toBe(bug);
  });
});
