import { expect, test } from "bun:test";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFailure } from "#base";
import { openHtpasswd } from "#registry";
import { parseHtpasswd } from "./htpasswd.ts";

/** Written by Apache's `htpasswd -nbB -C 5`, in its own spelling of bcrypt. */
const ALICE = "alice:$2y$05$qFj30joyv235u8MbefXLG.GAlnky0FX0NsU2W9LlmR6epsrxq2/Ye";

async function withFile(text: string, act: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "dray-htpasswd-"));
  const path = join(folder, "htpasswd");
  await writeFile(path, text);
  await act(path).finally(() => rm(folder, { recursive: true }));
}

async function failureOf(act: () => unknown): Promise<{ code: string; message: string }> {
  try {
    await act();
  } catch (error) {
    if (isFailure(error)) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

const hashed = (password: string) => Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });

test("openHtpasswd() lets in who has the password, and nobody else", async () => {
  await withFile(`# users\n\n${ALICE}\r\n`, async (path) => {
    const users = await openHtpasswd(path);
    expect(await users.verify("alice", "s3cret")).toBe(true);
    expect(await users.verify("alice", "s3cret")).toBe(true);
    expect(await users.verify("alice", "S3cret")).toBe(false);
    expect(await users.verify("alice", "")).toBe(false);
    expect(await users.verify("bob", "s3cret")).toBe(false);
    expect(await users.verify("__proto__", "s3cret")).toBe(false);
  });
});

test("openHtpasswd() gives one answer to many who ask at once", async () => {
  await withFile(ALICE, async (path) => {
    const users = await openHtpasswd(path);
    const answers = ["s3cret", "s3cret", "wrong", "s3cret"].map((p) => users.verify("alice", p));
    expect(await Promise.all(answers)).toEqual([true, true, false, true]);
  });
});

test("openHtpasswd() reads the file again when it has changed, and forgets what it had proven", async () => {
  await withFile(ALICE, async (path) => {
    const users = await openHtpasswd(path);
    expect(await users.verify("alice", "s3cret")).toBe(true);
    await writeFile(path, `alice:${await hashed("new")}\nbob:${await hashed("b")}\n`);
    expect(await users.verify("alice", "s3cret")).toBe(false);
    expect(await users.verify("alice", "new")).toBe(true);
    expect(await users.verify("bob", "b")).toBe(true);
  });
});

test("openHtpasswd() lets nobody in once the file is gone or spoiled", async () => {
  await withFile(ALICE, async (path) => {
    const users = await openHtpasswd(path);
    expect(await users.verify("alice", "s3cret")).toBe(true);
    await writeFile(path, "alice:plain\n");
    const spoiled = await failureOf(() => users.verify("alice", "s3cret"));
    expect(spoiled.code).toBe("htpasswd-invalid");
    await rm(path);
    const gone = await failureOf(() => users.verify("alice", "s3cret"));
    expect(gone.code).toBe("htpasswd-unreadable");
    await writeFile(path, ALICE);
    expect(await users.verify("alice", "s3cret")).toBe(true);
  });
});

test("openHtpasswd() lets nobody in who is gone, though another has the same line", async () => {
  const hash = await hashed("s3cret");
  await withFile(`alice:${hash}\nbob:${hash}\n`, async (path) => {
    const users = await openHtpasswd(path);
    expect(await users.verify("alice", "s3cret")).toBe(true);
    await writeFile(path, `bob:${hash}\n`);
    expect(await users.verify("alice", "s3cret")).toBe(false);
    expect(await users.verify("bob", "s3cret")).toBe(true);
  });
});

test("openHtpasswd() notices a change that keeps size and time of writing", async () => {
  const [one, other] = [await hashed("one"), await hashed("other")];
  await withFile(`alice:${one}`, async (path) => {
    const writtenAt = new Date("2026-01-01");
    await utimes(path, writtenAt, writtenAt);
    const users = await openHtpasswd(path);
    expect(await users.verify("alice", "one")).toBe(true);
    await writeFile(path, `alice:${other}`);
    await utimes(path, writtenAt, writtenAt);
    expect(await users.verify("alice", "one")).toBe(false);
    expect(await users.verify("alice", "other")).toBe(true);
  });
});

test("openHtpasswd() tells of each comparison, and of none for a password that was right before", async () => {
  await withFile(ALICE, async (path) => {
    const users = await openHtpasswd(path);
    let comparisons = 0;
    const verify = (user: string, password: string) =>
      users.verify(user, password, () => {
        comparisons += 1;
      });
    await Promise.all([1, 2, 3].map(() => verify("alice", "s3cret")));
    await verify("alice", "s3cret");
    expect(comparisons).toBe(1);
    await verify("alice", "wrong");
    await verify("bob", "wrong");
    expect(comparisons).toBe(3);
    const refused = users.verify("alice", "wrong", () => {
      throw new Error("enough");
    });
    await expect(refused).rejects.toThrow("enough");
  });
});

test("openHtpasswd() takes no password longer than bcrypt looks at, though Bun would", async () => {
  const longest = "p".repeat(72);
  const lines = [`alice:${await hashed(longest)}`, `bob:${await hashed(`${longest}x`)}`];
  await withFile(lines.join("\n"), async (path) => {
    const users = await openHtpasswd(path);
    expect(await users.verify("alice", longest)).toBe(true);
    expect(await users.verify("alice", `${longest}x`)).toBe(false);
    expect(await users.verify("bob", `${longest}x`)).toBe(false);
  });
});

test("openHtpasswd() fails when there is no file", async () => {
  const failure = await failureOf(() => openHtpasswd("/nonexistent/htpasswd"));
  expect(failure.code).toBe("htpasswd-unreadable");
});

test("parseHtpasswd() names the line that it refuses, and not what is in it", async () => {
  const refused = [
    "bob:{SHA}hunter2",
    "bob:hunter2",
    "hunter2",
    ":$2y$05$hunter2",
    "bob:$apr1$hunter2",
  ];
  for (const line of refused) {
    const failure = await failureOf(() => parseHtpasswd(`${ALICE}\n${line}\n`, "/etc/htpasswd"));
    expect(failure.code).toBe("htpasswd-invalid");
    expect(failure.message).toContain("line 2");
    expect(failure.message).not.toContain("hunter2");
  }
});

test("openHtpasswd() tells when a user has another password, or is gone, and nothing of either", async () => {
  await withFile(ALICE, async (path) => {
    const users = await openHtpasswd(path);
    const before = users.passwordVersion("alice");
    expect(before).toBe(users.passwordVersion("alice") ?? "");
    expect(before).not.toContain("$2y$");
    expect(users.passwordVersion("bob")).toBeUndefined();
    await writeFile(path, `alice:${await hashed("another")}\nbob:${await hashed("s3cret")}`);
    expect(users.passwordVersion("alice")).not.toBe(before ?? "");
    expect(users.passwordVersion("bob")).toBeDefined();
    await writeFile(path, `bob:${await hashed("s3cret")}`);
    expect(users.passwordVersion("alice")).toBeUndefined();
  });
});
