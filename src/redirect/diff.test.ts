import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { unifiedDiff } from "./diff.ts";
import { maskHostsToml, maskRegistriesYaml } from "./mask.ts";

describe("unifiedDiff()", () => {
  test("shows a change with the lines around it, as diff -u does", () => {
    const before = "a\nb\nc\nd\ne\nf\ng\nh\n";
    expect(unifiedDiff("f", before, before.replace("e\n", "E\nF\n"))).toBe(
      "--- f\n+++ f\n@@ -2,7 +2,8 @@\n b\n c\n d\n-e\n+E\n+F\n f\n g\n h\n",
    );
  });

  test("shows files that are made, removed, and of which the last line does not end", () => {
    expect(unifiedDiff("f", undefined, "a\n")).toBe("--- /dev/null\n+++ f\n@@ -0,0 +1,1 @@\n+a\n");
    expect(unifiedDiff("f", "a", undefined)).toBe(
      "--- f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n\\ No newline at end of file\n",
    );
    expect(unifiedDiff("f", "a\n", "a\n")).toBe("");
  });

  test("has every line of both texts that differ, and the counts of its ranges are right", () => {
    const texts = fc.array(fc.constantFrom("a\n", "b\n", "c\n", "\n"), { maxLength: 20 });
    fc.assert(
      fc.property(texts, texts, (before, after) => {
        const lines = unifiedDiff("f", before.join(""), after.join("")).split("\n").slice(2, -1);
        const added = lines.filter((line) => line.startsWith("+")).length;
        const removed = lines.filter((line) => line.startsWith("-")).length;
        expect(after.length - before.length).toBe(added - removed);
        let [old, now] = [0, 0];
        for (const line of lines.toReversed()) {
          const [, oldCount, newCount] = /^@@ -\d+,(\d+) \+\d+,(\d+) @@$/.exec(line) ?? [];
          if (oldCount === undefined) {
            if (!line.startsWith("+")) old += 1;
            if (!line.startsWith("-")) now += 1;
            continue;
          }
          expect([old, now]).toEqual([Number(oldCount), Number(newCount)]);
          [old, now] = [0, 0];
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("secrets", () => {
  test("values of headers are masked in every way in which TOML may have them", () => {
    const text =
      '[host."https://u:hunter2@a"]\nca = "ca.pem"\nheader = {X = "hunter2"}\n[host."https://a".header]\nAuthorization = [\n  "hunter2",\n] # why\nX-Key = """\nhunter2"""\n[host."https://b"]\nheader.Y = \'hunter2\'\nca = "b.pem"\n';
    const masked = maskHostsToml(text);
    expect(masked).not.toContain("hunter2");
    expect(masked).toContain('ca = "ca.pem"');
    expect(masked).toContain('ca = "b.pem"');
    expect(masked).toContain("# why");
  });

  test("values of headers are masked in inline tables, in any case, and in what is switched off", () => {
    const text =
      'host."https://a" = {ca = "x", header = {X = "hunter2"}}\n# Authorization = "Basic hunter2"\n[host."https://b".Header]\nX = "hunter2"\n';
    const masked = maskHostsToml(text);
    expect(masked).not.toContain("hunter2");
    expect(masked).toContain("# Authorization = [secret]");
    expect(maskHostsToml('[host]\n"https://a" = {\n  header.X = "hunter2"}\n')).not.toContain(
      "hunter",
    );
  });

  test("passwords that an alias stands for, and in what is switched off, are masked", () => {
    const text =
      "p: &p hunter2\nconfigs:\n  a:\n    auth:\n      password: *p\n      # identity_token: hunter2 2\n      Auth: hunter2\n";
    const masked = maskRegistriesYaml(text);
    expect(masked).not.toContain("hunter2");
    expect(masked).toContain("# identity_token: [secret]\n");
  });

  test("passwords and tokens are masked in every way in which YAML may have them", () => {
    const text =
      'configs:\n  a: {auth: {username: me, password: hunter2}}\n  b:\n    auth:\n      password: >-\n        hunter2\n        hunter2\n      identity_token: "hunter2"\n      auth: hunter2\n    tls: {ca_file: /ca}\nmirrors: {x: {endpoint: ["https://u:hunter2@y"]}}\n';
    const masked = maskRegistriesYaml(text);
    expect(masked).not.toContain("hunter2");
    expect(masked).toContain("username: me");
    expect(masked).toContain("tls: {ca_file: /ca}");
  });
});
