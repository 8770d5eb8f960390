import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Failure, isFailure } from "#base";
import { type TestCertificate, testCertificates } from "#test-support/certificates";
import { createEventClock } from "#test-support/event-clock";
import { type Certificate, readCertificate, watchCertificate } from "./tls.ts";

const { server, stranger } = testCertificates();

interface Site {
  readonly certFile: string;
  readonly keyFile: string;
  put(pair: TestCertificate): void;
}

function withSite<T>(act: (site: Site) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "dray-tls-"));
  const certFile = join(folder, "tls.crt");
  const keyFile = join(folder, "tls.key");
  const put = (pair: TestCertificate) => {
    copyFileSync(pair.certificatePath, certFile);
    copyFileSync(pair.keyPath, keyFile);
  };
  put(server);
  return act({ certFile, keyFile, put }).finally(() => rmSync(folder, { recursive: true }));
}

/** Watches while the steps are taken, each of which is followed by so many looks. */
async function watched(site: Site, steps: readonly (readonly [() => void, number])[]) {
  const clock = createEventClock(0);
  const over = new AbortController();
  const changes: Certificate[] = [];
  const problems: Failure[] = [];
  const watching = watchCertificate(site, {
    clock,
    signal: over.signal,
    onChange: (certificate) => changes.push(certificate),
    onProblem: (failure) => problems.push(failure),
  });
  const take = async () => {
    // Between two looks, which come every ten seconds.
    await clock.sleep(5_000, over.signal);
    for (const [step, looks] of steps) {
      step();
      await clock.sleep(looks * 10_000, over.signal);
    }
    over.abort();
    await watching;
  };
  await clock.run(take());
  return { changes, problems: problems.map(({ code }) => code) };
}

function codeOf(act: () => unknown): string {
  try {
    act();
    return "none";
  } catch (error) {
    return isFailure(error) ? error.code : "no failure";
  }
}

test("a certificate is read with its key", async () => {
  await withSite(async (site) => {
    expect(readCertificate(site)).toEqual({ cert: server.certificate, key: server.key });
  });
});

test("a certificate is refused whose key is another, or which is none, or is not there", async () => {
  await withSite(async (site) => {
    copyFileSync(stranger.keyPath, site.keyFile);
    expect(codeOf(() => readCertificate(site))).toBe("registry-certificate");
    copyFileSync(site.keyFile, site.certFile);
    expect(codeOf(() => readCertificate(site))).toBe("registry-certificate");
    rmSync(site.certFile);
    expect(codeOf(() => readCertificate(site))).toBe("registry-certificate");
  });
});

test("a certificate that was replaced is read again, once", async () => {
  await withSite(async (site) => {
    const { changes, problems } = await watched(site, [
      [() => {}, 3],
      [() => site.put(stranger), 3],
    ]);
    expect(changes).toEqual([{ cert: stranger.certificate, key: stranger.key }]);
    expect(problems).toEqual([]);
  });
});

test("a certificate behind symbolic links, as of a Secret, is read again when the link is moved", async () => {
  await withSite(async (site) => {
    const folder = join(site.certFile, "..");
    for (const [name, pair] of [["one", server] as const, ["two", stranger] as const]) {
      mkdirSync(join(folder, name));
      copyFileSync(pair.certificatePath, join(folder, name, "tls.crt"));
      copyFileSync(pair.keyPath, join(folder, name, "tls.key"));
    }
    const pointTo = (name: string) => {
      symlinkSync(name, join(folder, "next"));
      renameSync(join(folder, "next"), join(folder, "data"));
    };
    pointTo("one");
    for (const file of [site.certFile, site.keyFile]) rmSync(file);
    symlinkSync("data/tls.crt", site.certFile);
    symlinkSync("data/tls.key", site.keyFile);
    const { changes } = await watched(site, [[() => pointTo("two"), 2]]);
    expect(changes).toEqual([{ cert: stranger.certificate, key: stranger.key }]);
  });
});

test("a broken certificate changes nothing, and is told once", async () => {
  await withSite(async (site) => {
    const { changes, problems } = await watched(site, [
      [() => copyFileSync(stranger.certificatePath, site.certFile), 6],
      [() => rmSync(site.certFile), 6],
      [() => site.put(stranger), 2],
    ]);
    expect(problems).toEqual(["registry-certificate", "registry-certificate"]);
    expect(changes).toEqual([{ cert: stranger.certificate, key: stranger.key }]);
  });
});

test("nobody hears of a certificate that came before its key", async () => {
  await withSite(async (site) => {
    const { changes, problems } = await watched(site, [
      [() => copyFileSync(stranger.certificatePath, site.certFile), 1],
      [() => copyFileSync(stranger.keyPath, site.keyFile), 3],
    ]);
    expect(problems).toEqual([]);
    expect(changes).toHaveLength(1);
  });
});
