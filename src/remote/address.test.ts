import { expect, test } from "bun:test";
import { hostOf, isLocalAddress, isLoopbackHost } from "./address.ts";

const host = (text: string) => hostOf(new URL(`https://${text}/`));

test.each([
  "127.0.0.1",
  "127.1",
  "2130706433",
  "0x7f.1",
  "0177.0.0.1",
  "127.0.0.1.",
  "0",
  "0.0.0.0",
  "10.0.0.5",
  "172.16.0.1",
  "172.31.255.255",
  "192.168.1.1",
  "169.254.169.254",
  "0xa9fea9fe",
  "100.64.0.1",
  "[::]",
  "[::1]",
  "[fd00::1]",
  "[fe80::1]",
  "[fec0::1]",
  "[::ffff:127.0.0.1]",
  "[::ffff:a00:1]",
  "[::127.0.0.1]",
  "[64:ff9b::10.0.0.1]",
  "[2002:7f00:1::]",
  "[2002:a9fe:a9fe::1]",
])("isLocalAddress() knows %s as local, however it is spelled (SEC-2)", (text) => {
  expect(isLocalAddress(host(text))).toBe(true);
});

test.each([
  "8.8.8.8",
  "172.32.0.1",
  "11.0.0.1",
  "100.128.0.1",
  "169.253.0.1",
  "[2001:db8::1]",
  "[64:ff9b::808:808]",
  "[2002:808:808::1]",
  "[::ffff:8.8.8.8]",
  "quay.io",
  "127.0.0.1.example.com",
  "10.example.com",
])("isLocalAddress() knows %s as public, or as a name", (text) => {
  expect(isLocalAddress(host(text))).toBe(false);
});

test("isLoopbackHost() takes this machine's names and addresses and no other's (C-154)", () => {
  for (const text of [
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.9.9.9",
    "[::1]",
    "[::ffff:127.0.0.1]",
  ]) {
    expect([text, isLoopbackHost(host(text))]).toEqual([text, true]);
  }
  for (const text of [
    "localhost.example.com",
    "notlocalhost",
    "10.0.0.1",
    "192.168.0.1",
    "[fd00::1]",
  ]) {
    expect([text, isLoopbackHost(host(text))]).toEqual([text, false]);
  }
});
