import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Failure, isFailure } from "#base";
import { createCredentialHelpers } from "#keychain";

const folder = mkdtempSync(join(tmpdir(), "drayage-keychain-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const signal = new AbortController().signal;
const env = { PATH: `${folder}:/usr/bin:/bin`, FOLDER: folder };

/** Writes `docker-credential-<name>` as a shell script. */
function writeHelper(name: string, script: string): void {
  const path = join(folder, `docker-credential-${name}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

const ask = (name: string, server = "quay.io", timeoutMs = 60_000) =>
  createCredentialHelpers({ env, timeoutMs }).get(name, server, { signal });

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    if (!isFailure(error, "credential-helper-failed")) throw error;
    expect(`${error.message} ${error.hint} ${error.cause}`).not.toContain("canary");
    return error;
  }
  throw new Error("It did not fail");
}

test("a helper is asked by its protocol: `get`, the server on stdin (C-35)", async () => {
  writeHelper(
    "good",
    'cat > "$FOLDER/asked"; echo "$*" >> "$FOLDER/asked"; echo \'{"Username":"edge","Secret":"s:x"}\'',
  );
  const credential = await ask("good", "https://index.docker.io/v1/");
  expect(
    credential?.kind === "password" && [credential.username, credential.password.reveal()],
  ).toEqual(["edge", "s:x"]);
  expect(readFileSync(join(folder, "asked"), "utf8")).toBe("https://index.docker.io/v1/get\n");
});

test("the user <token> means an identity token", async () => {
  writeHelper("token", 'echo \'{"ServerURL":"x","Username":"<token>","Secret":"refresh"}\'');
  const credential = await ask("token");
  expect(credential?.kind === "identity-token" && credential.token.reveal()).toBe("refresh");
});

test("what a helper does not know is no failure", async () => {
  writeHelper("none", "echo 'credentials not found in native keychain'; exit 1");
  writeHelper("blank", 'echo \'{"Username":"","Secret":""}\'');
  expect(await ask("none")).toBeUndefined();
  expect(await ask("blank")).toBeUndefined();
});

test("a helper's failure shows its words and never what may be a secret", async () => {
  writeHelper("sad", "echo 'the vault is \x1b[31mlocked' >&2; exit 3");
  const failure = await failureOf(ask("sad"));
  expect(failure.message).toBe(
    'Cannot get a credential from "docker-credential-sad": it ended with 3 and said "the vault is \\u001b[31mlocked"',
  );
  writeHelper("leaky", 'echo \'{"Username":"edge","Secret":"canary"}\'; exit 1');
  await failureOf(ask("leaky"));
  for (const answer of [
    "canary",
    '"canary"',
    '{"Username":"edge","Secret":1,"x":"canary"}',
    "null",
  ]) {
    writeHelper("odd", `echo '${answer}'`);
    await failureOf(ask("odd"));
  }
});

test("a helper that is not installed is named", async () => {
  expect((await failureOf(ask("missing"))).message).toContain("it cannot be run (ENOENT)");
});

test.each(["../sh", "a b", "a;b", "a/b", "", "a\nb", "$(x)"])(
  "the name %p is never run (SEC-26)",
  async (name) => {
    expect((await failureOf(ask(name))).message).toContain("its name is not valid");
  },
);

test.each(["a b", "a\nb", ""])("the server %p is never asked for (SEC-26)", async (server) => {
  expect((await failureOf(ask("good", server))).message).toContain("the server is no host");
});

test("a helper that hangs is ended, with what it started", async () => {
  writeHelper("slow", 'sleep 1000 & echo $! > "$FOLDER/child"; wait');
  const failure = await failureOf(ask("slow", "quay.io", 200));
  expect(failure.message).toContain("did not answer in 0.2 s");
  const child = Number(readFileSync(join(folder, "child"), "utf8"));
  while (isRunning(child)) await Bun.sleep(1);
});

/** A process that was killed stays as a zombie until its parent, or init, takes note of it. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

test("a helper without end is cut", async () => {
  writeHelper("endless", "exec yes canary");
  expect((await failureOf(ask("endless"))).message).toContain("wrote more than");
});

test("an aborted signal kills the helper and gives the caller's own reason", async () => {
  writeHelper("slow", "sleep 1000");
  const caller = new AbortController();
  const asked = createCredentialHelpers({ env }).get("slow", "quay.io", { signal: caller.signal });
  caller.abort(new Error("given up"));
  await expect(asked).rejects.toThrow("given up");
});

test("helpers see the environment they are given and nothing else", async () => {
  writeHelper("env", 'printf \'{"Username":"edge","Secret":"%s"}\' "$HOME-$FOLDER"');
  const credential = await ask("env");
  expect(credential?.kind === "password" && credential.password.reveal()).toBe(`-${folder}`);
});
