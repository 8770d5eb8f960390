import { expect, test } from "bun:test";
import { inspect } from "node:util";
import { Secret } from "./secret.ts";

const CANARY = "hunter2-canary";

test("a Secret shows itself to reveal() alone (SEC-23)", () => {
  const secret = new Secret(CANARY);
  const credential = { username: "edge", password: secret, list: [secret] };
  const shown = [
    ...[String(secret), `${secret}`, JSON.stringify(credential), inspect(credential, { depth: 9 })],
    ...[inspect(secret, { showHidden: true }), Bun.inspect(credential), secret.toLocaleString()],
    ...[JSON.stringify(Object.entries(secret)), JSON.stringify({ ...secret })],
    ...[
      String(new Error(`${secret}`, { cause: secret })),
      inspect(new Error("x", { cause: secret })),
    ],
  ];
  expect(shown.join("\n")).not.toContain(CANARY);
  expect(JSON.stringify(secret)).toBe('"[secret]"');
  expect(secret.reveal()).toBe(CANARY);
});

test("a Secret tells whether there is anything in it", () => {
  expect([new Secret("").isEmpty, new Secret(" ").isEmpty]).toEqual([true, false]);
});
