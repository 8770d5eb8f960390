import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "#test-support/program";
import { startRegistryProgram } from "#test-support/serving-program";
import { TOOLS_CACHE } from "#test-support/tools-cache";

/** Where `tools/install-conformance.sh` was told to put the suites. */
const SUITES = process.env["OCI_CONFORMANCE"] ?? join(TOOLS_CACHE, "oci-conformance");

/** What each suite must be told to try everything. */
const ENVIRONMENTS: Readonly<Record<string, (address: string) => Record<string, string>>> = {
  "v1.1.1": (address) => ({
    OCI_ROOT_URL: `http://${address}`,
    OCI_NAMESPACE: "conformance/one",
    OCI_CROSSMOUNT_NAMESPACE: "conformance/two",
    OCI_TEST_PULL: "1",
    OCI_TEST_PUSH: "1",
    OCI_TEST_CONTENT_DISCOVERY: "1",
    OCI_TEST_CONTENT_MANAGEMENT: "1",
    OCI_HIDE_SKIPPED_WORKFLOWS: "0",
    OCI_AUTOMATIC_CROSSMOUNT: "0",
  }),
  main: (address) => ({
    OCI_REGISTRY: address,
    OCI_TLS: "disabled",
    OCI_REPO1: "conformance/one",
    OCI_REPO2: "conformance/two",
    OCI_VERSION: "1.1",
  }),
};

for (const [suite, environment] of Object.entries(ENVIRONMENTS)) {
  const program = join(SUITES, suite);
  const isHere = existsSync(program);
  if (!isHere) {
    console.warn(
      `The conformance suite ${program} is not there (test:full builds it, where Go's module proxy has it): ` +
        "it is left out, and test/e2e/distribution-spec.test.ts asks the same",
    );
  }

  test.skipIf(!isHere)(
    `the conformance suite ${suite} finds nothing wrong`,
    async () => {
      await using folder = await temporaryFolder();
      await using registry = await startRegistryProgram(join(folder.path, "data"));
      const child = Bun.spawn([program], {
        cwd: folder.path,
        env: { PATH: process.env["PATH"], HOME: folder.path, ...environment(registry.address) },
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
      const [out, err] = await Promise.all([
        new Response(child.stdout).text(),
        new Response(child.stderr).text(),
      ]);
      await child.exited;
      const report = await readFile(join(folder.path, "junit.xml"), "utf8").catch(() => "");
      expect(failuresIn(report)).toEqual([]);
      expect(report, `${out}${err}`).toContain("<testcase");
      expect(child.exitCode, `${out}${err}`).toBe(0);
    },
    300_000,
  );
}

/** The names of the cases of a JUnit report that failed, each with the first line of why. */
function failuresIn(report: string): readonly string[] {
  const cases = [...report.matchAll(/<testcase\b([^>]*[^/])>([\s\S]*?)<\/testcase>/g)];
  return cases.flatMap(([, attributes = "", body = ""]) => {
    const [, message] = /<(?:failure|error)\b[^>]*?(?:message="([^"]*))?/.exec(body) ?? [];
    if (!/<(failure|error)\b/.test(body)) return [];
    const [, name = ""] = /\bname="([^"]*)"/.exec(attributes) ?? [];
    return [
      `${name}: ${
        message ??
        body
          .replace(/<[^>]*>/g, " ")
          .trim()
          .split("\n")[0]
      }`,
    ];
  });
}
