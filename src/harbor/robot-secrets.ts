import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { Failure, quoted, Secret, systemErrorCode } from "#base";
import type { RobotSecrets } from "./ports.ts";
import { isObject } from "./reader.ts";

/** A robot account of ours at one project of one Harbor, and what it logs in with. */
export interface RobotSecret {
  /** `host:port` of the Harbor. */
  readonly harbor: string;
  readonly project: string;
  /** What it is for: the agent's pushing, or the pulling of the cluster's nodes. */
  readonly purpose: RobotPurpose;
  /** Our own name for it, of which Harbor makes the login's. It is this site's alone. */
  readonly name: string;
  /** Null until Harbor has made the robot. */
  readonly login: RobotLogin | null;
  /** When the secret was made: milliseconds since 1970. */
  readonly madeAtMs: number;
}

/** What a robot logs in with. */
export interface RobotLogin {
  /** `robot$spectro-images+drayage-push-1f`; the prefix is a setting of Harbor. */
  readonly username: string;
  readonly password: Secret;
}

/** What a robot account is for. */
export type RobotPurpose = "push" | "nodes";

/**
 * Keeps robots' secrets in one JSON file that only its owner can read. It is replaced by rename, so
 * after a power cut it is the old one or the new.
 *
 * A file that is no such thing counts as empty: the robots are made anew, and nothing is lost.
 */
export function createRobotSecretsFile(path: string): RobotSecrets {
  const attempt = async <T>(verb: string, act: () => Promise<T>): Promise<T> => {
    try {
      return await act();
    } catch (error) {
      throw secretsFailure(error, verb, path);
    }
  };
  return {
    async read() {
      const text = await attempt("read", () => readIfThere(path));
      return text === undefined ? [] : parseSecrets(text);
    },
    write: (secrets) => attempt("write", () => replace(path, formatSecrets(secrets))),
  };
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (systemErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function replace(path: string, text: string): Promise<void> {
  const draft = `${path}.draft`;
  // One that a dead process left may have other rights.
  await rm(draft, { force: true });
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  const folder = await open(dirname(path));
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function formatSecrets(secrets: readonly RobotSecret[]): string {
  const robots = secrets.map(({ login, madeAtMs, ...rest }) => ({
    ...rest,
    ...(login && { username: login.username, password: login.password.reveal() }),
    madeAt: new Date(madeAtMs).toISOString(),
  }));
  return `${JSON.stringify({ robots }, undefined, 2)}\n`;
}

function parseSecrets(text: string): readonly RobotSecret[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return [];
  }
  const robots = isObject(json) ? json["robots"] : undefined;
  return Array.isArray(robots) ? robots.flatMap(parseSecret) : [];
}

function parseSecret(json: unknown): readonly RobotSecret[] {
  if (!isObject(json)) return [];
  const { harbor, project, purpose, name, username, password, madeAt } = json;
  if (typeof harbor !== "string" || typeof project !== "string" || typeof name !== "string") {
    return [];
  }
  if (purpose !== "push" && purpose !== "nodes") return [];
  const madeAtMs = typeof madeAt === "string" ? Date.parse(madeAt) : Number.NaN;
  const hasLogin = typeof username === "string" && typeof password === "string";
  return [
    {
      ...{ harbor, project, purpose, name },
      login: hasLogin ? { username, password: new Secret(password) } : null,
      madeAtMs: Number.isFinite(madeAtMs) ? madeAtMs : 0,
    },
  ];
}

function secretsFailure(error: unknown, verb: string, path: string): unknown {
  const code = systemErrorCode(error);
  if (code === undefined) return error;
  return new Failure({
    code: "harbor-secrets",
    message: `Cannot ${verb} the secrets of the robot accounts ${quoted(path)}: the disk answered ${code}, expected a file that only we can read`,
    hint: "Check the rights and the free space of its folder, then run the command again",
    cause: error,
  });
}
