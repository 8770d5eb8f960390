import { spawn } from "node:child_process";
import { Failure, printable, quoted, Secret, systemErrorCode } from "#base";
import { type Credential, type CredentialHelpers, HELPER_NAME } from "#credential";

/** How helpers are run. */
export interface HelperOptions {
  /**
   * The environment that helpers see, whole: `PATH` to find them, and what they need themselves
   * (`HOME`, `AWS_PROFILE`, proxies).
   */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** How long a helper may take, in milliseconds; some ask a cloud. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 60_000;

/** A helper's answer is a few hundred bytes; the largest tokens have some thousand. */
const OUTPUT_BYTES_MAX = 256 * 1024;

/** A host, a host with port or path, or Docker Hub's URL: one line of printable characters. */
const SERVER = /^[\x21-\x7e]{1,1000}$/;

/** What all helpers of Docker's credential-helpers project say, with exit code 1, when they have none. */
const NOT_FOUND = "credentials not found in native keychain";

/** The user name that stands for "the secret is an identity token". */
const TOKEN_USERNAME = "<token>";

/**
 * Credential helpers as programs: `docker-credential-<helper> get`, without a shell, the server on
 * stdin, the answer on stdout (C-35).
 *
 * Nothing that a helper writes is ever shown, but for one line of its words when it fails.
 */
export function createCredentialHelpers({
  env,
  timeoutMs = TIMEOUT_MS,
}: HelperOptions): CredentialHelpers {
  return {
    async get(helper, server, { signal }) {
      if (!HELPER_NAME.test(helper)) {
        throw failed(helper, 'its name is not valid, expected letters, digits, ".", "_" and "-"');
      }
      if (!SERVER.test(server)) throw failed(helper, "the server is no host, expected one");
      const run = await runHelper(helper, server, { env, timeoutMs, signal });
      if (run.exitCode === 0) return readAnswer(helper, run.stdout);
      if (run.stdout.includes(NOT_FOUND)) return undefined;
      throw failed(helper, `it ended with ${run.exitCode ?? "a signal"}${wordsOf(run)}`);
    },
  };
}

/** The first line that a failed helper wrote, unless it looks like the answer that it did not give. */
function wordsOf({ stdout, stderr }: Run): string {
  const [line = ""] = (stdout.trim() || stderr.trim()).split("\n");
  return line === "" || /[{}"]/.test(line) ? "" : ` and said ${quoted(line)}`;
}

interface Run {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions extends Required<HelperOptions> {
  readonly signal: AbortSignal;
}

async function runHelper(helper: string, server: string, options: RunOptions): Promise<Run> {
  const { env, timeoutMs, signal } = options;
  signal.throwIfAborted();
  const { promise, resolve, reject } = Promise.withResolvers<Run>();
  const child = spawn(`docker-credential-${helper}`, ["get"], {
    env: { ...env },
    stdio: "pipe",
    // A group of its own, so that what the helper started can be ended with it.
    detached: true,
  });
  const giveUp = (reason: unknown) => {
    killGroup(child.pid);
    reject(reason);
  };
  const onAbort = () => giveUp(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const timer = setTimeout(() => {
    giveUp(failed(helper, `it did not answer in ${timeoutMs / 1000} s, expected an answer`));
  }, timeoutMs);
  const tooMuch = () => giveUp(failed(helper, `it wrote more than ${OUTPUT_BYTES_MAX} bytes`));
  const stdout = collect(child.stdout, tooMuch);
  const stderr = collect(child.stderr, tooMuch);
  child.on("error", (error) => {
    reject(failed(helper, `it cannot be run (${systemErrorCode(error) ?? "no code"})`));
  });
  child.on("close", (exitCode) => resolve({ exitCode, stdout: stdout(), stderr: stderr() }));
  // A helper that ends without reading breaks the pipe; its exit code says more than that.
  child.stdin.on("error", () => undefined);
  child.stdin.end(server);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // The group ended by itself meanwhile.
  }
}

/** Gathers what a stream says; gives a function for the text so far. */
function collect(stream: NodeJS.ReadableStream, tooMuch: () => void): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    bytes += chunk.byteLength;
    if (bytes > OUTPUT_BYTES_MAX) tooMuch();
    else chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString("utf8");
}

function readAnswer(helper: string, stdout: string): Credential | undefined {
  const { Username: username, Secret: secret } = parseAnswer(helper, stdout);
  if (typeof username !== "string" || typeof secret !== "string") {
    throw failed(helper, "its answer has no Username and Secret, expected both");
  }
  if (secret === "") return undefined;
  if (username === TOKEN_USERNAME) return { kind: "identity-token", token: new Secret(secret) };
  return { kind: "password", username, password: new Secret(secret) };
}

function parseAnswer(helper: string, stdout: string): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = JSON.parse(stdout);
    if (typeof json === "object" && json !== null) return { ...json };
  } catch {
    // The parser's message would quote the answer, and so perhaps the secret.
  }
  throw failed(helper, "its answer is no JSON object, expected one");
}

function failed(helper: string, why: string): Failure {
  const program = quoted(`docker-credential-${helper}`, 100);
  return new Failure({
    code: "credential-helper-failed",
    message: `Cannot get a credential from ${program}: ${why}`,
    hint: `Run it by hand: echo SERVER | docker-credential-${printable(helper, 100)} get`,
  });
}
