import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { Findings } from "#base";
import { listed } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { parseDocuments } from "./document.ts";
import {
  decodeBase64,
  isMasked,
  parsePem,
  readCertificates,
  sensitive,
  withoutSecrets,
} from "./sensitive.ts";
import { fileSource } from "./text-source.ts";

const PEM = readFileSync(join(import.meta.dir, "../../test/fixtures/tls/ca.pem"), "utf8").trim();
const OTHER = readFileSync(
  join(import.meta.dir, "../../test/fixtures/tls/server.pem"),
  "utf8",
).trim();

describe("isMasked()", () => {
  test.each([
    "***",
    "********",
    "••••",
    " *** ",
    "<redacted>",
    "[MASKED]",
    "(hidden)",
    "sanitized",
  ])("knows %j", (text) => expect(isMasked(text)).toBe(true));
  test.each(["", "**", "a***", "masked-app", "hunter2", "redacted!"])("leaves %j", (text) => {
    expect(isMasked(text)).toBe(false);
  });
});

describe("sensitive()", () => {
  test("hides the text from everybody who does not ask for it", () => {
    const { secret, isMasked: masked } = sensitive("hunter2");
    expect(secret.reveal()).toBe("hunter2");
    expect(masked).toBe(false);
    expect(`${secret} ${JSON.stringify({ secret })} ${Bun.inspect(secret)}`).not.toContain(
      "hunter2",
    );
  });
});

describe("withoutSecrets()", () => {
  test.each([
    ["https://user:hunter2@reg.example.com/a", "https://…@reg.example.com/a"],
    ["https://hunter2@reg.example.com", "https://…@reg.example.com"],
    ["user:hunter2@reg.example.com:5000/a", "…@reg.example.com:5000/a"],
    ["https://user:p@hunter2@reg.example.com/a", "https://…@reg.example.com/a"],
    ["user:p@hunter2@reg.example.com/a@sha256:abc", "…@reg.example.com/a@sha256:abc"],
    ["https://user:p/hunter2@reg.example.com/a", "https://…@reg.example.com/a"],
    ["user:p:a/hunter2@reg.example.com:5000/a:1", "…@reg.example.com:5000/a:1"],
    ["https://reg.example.com:5000/a@1.2", "https://reg.example.com:5000/a@1.2"],
    ["reg.example.com/a?sig=hunter2&x=1", "reg.example.com/a?…"],
    ["reg.example.com:5000/team/app:1.2", "reg.example.com:5000/team/app:1.2"],
    ["busybox@sha256:abc", "busybox@sha256:abc"],
    ["quay.io/a/b@sha1:abc", "quay.io/a/b@sha1:abc"],
  ])("shows %j as %j", (text, expected) => {
    expect(withoutSecrets(text)).toBe(expected);
  });
});

describe("decodeBase64()", () => {
  test.each([
    ["c2VjcmV0", "secret"],
    ["c2Vj\ncmV0\n", "secret"],
    ["w6k=", "é"],
    ["w6k", "é"],
    ["", ""],
  ])("reads %j", (text, expected) => expect(decodeBase64(text)).toBe(expected));

  test.each(["secret!", "a", "c2Vjc===", "c2VjcmV0=", "c2Vj-mV0", "/w==", "=", "docker.io"])(
    "refuses %j",
    (text) => expect(decodeBase64(text)).toBeUndefined(),
  );

  test("reads back all that was written", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        expect(decodeBase64(Buffer.from(text).toString("base64"))).toBe(text);
      }),
    );
  });

  test("survives every text, and gives text or nothing", () => {
    const unit = fc.constantFrom(..."ABab01+/=- \n!é\0");
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 40 }), (text) => {
        const decoded = decodeBase64(text);
        if (decoded === undefined) return;
        const bare = text.replace(/[\s=]/g, "");
        // The bits behind the last whole byte mean nothing, and may be any.
        const again = Buffer.from(decoded).toString("base64").replaceAll("=", "");
        expect(again.slice(0, -1)).toBe(bare.slice(0, -1));
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("ends for a text of a million characters", () => {
    expect(decodeBase64(`${"A".repeat(1_000_000)}!`)).toBeUndefined();
  });
});

describe("parsePem()", () => {
  test("finds each certificate, whatever stands between them", () => {
    expect(parsePem(`# ours\n${PEM}\nBag Attributes\n  name: x\n${OTHER}\n`)).toEqual([PEM, OTHER]);
  });

  test("takes away what the lines were indented by", () => {
    expect(parsePem(PEM.replace(/^/gm, "    "))).toEqual([PEM]);
  });

  test("passes over a key, which is no certificate", () => {
    const key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    expect(parsePem(`${key}${PEM}`)).toEqual([PEM]);
    expect(parsePem(key)).toBeUndefined();
  });

  const lines = PEM.split("\n");
  test.each([
    ["nothing", ""],
    ["no PEM", "MIIB"],
    ["a cut end", lines.slice(0, -1).join("\n")],
    ["a missing line", [...lines.slice(0, 3), ...lines.slice(4)].join("\n")],
    ["a second one that is cut", `${PEM}\n${lines.slice(0, -2).join("\n")}`],
    ["an ellipsis", "-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----"],
    ["no DER", "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----"],
    ["an empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"],
  ])("refuses %s", (_, text) => expect(parsePem(text)).toBeUndefined());

  test("survives certificates with any damage", () => {
    const damage = fc.tuple(
      fc.nat(PEM.length),
      fc.nat(60),
      fc.constantFrom("", "-", "\n", "A", "é"),
    );
    fc.assert(
      fc.property(damage, ([at, length, text]) => {
        const parsed = parsePem(`${PEM.slice(0, at)}${text}${PEM.slice(at + length)}`);
        expect(parsed === undefined || parsed.length === 1).toBe(true);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("readCertificates()", () => {
  function read(yaml: string) {
    const findings = new Findings();
    const [root] = parseDocuments(fileSource("f", yaml), findings);
    return {
      certificates: readCertificates(root?.get("c"), findings),
      faults: listed(findings.faults),
    };
  }
  const block = (indent: string) => PEM.replaceAll("\n", `\n${indent}`);

  test.each([
    ["one text", `c: |\n  ${block("  ")}\n`],
    ["a list of texts", `c:\n  - |\n    ${block("    ")}\n`],
    ["a line with escapes", `c: ${JSON.stringify(PEM)}\n`],
    ["base64 of PEM", `c: [${Buffer.from(PEM).toString("base64")}]\n`],
  ])("reads %s", (_, yaml) => {
    expect(read(yaml)).toEqual({ certificates: [PEM], faults: [] });
  });

  test.each(["c:\n", "c: ''\n", "c: []\n", "c: ['']\n", "d: 1\n"])("reads none from %j", (yaml) => {
    expect(read(yaml)).toEqual({ certificates: [], faults: [] });
  });

  test("tells which of several is broken, and keeps the others", () => {
    const { certificates, faults } = read(
      `c:\n  - nonsense\n  - ${JSON.stringify(PEM)}\n  - {a: 1}\n`,
    );
    expect(certificates).toEqual([PEM]);
    expect(faults).toEqual(["f:2:5 certificate-unreadable", "f:4:5 value-wrong-shape"]);
  });
});
