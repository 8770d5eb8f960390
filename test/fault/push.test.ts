import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "#base";
import { ANONYMOUS } from "#credential";
import type { Descriptor } from "#oci";
import { openStore } from "#store";
import { openCuttingLink } from "#test-support/cutting-link";
import { putBytes, randomBytes } from "#test-support/images";
import { KILLED_PUSH_REGISTRIES } from "#test-support/killed-pushes";
import { temporaryFolder } from "#test-support/program";
import { imageToPush, pushImage, targetAt } from "#test-support/push-world";
import { fault, type Interfere, startQuirkyRegistry } from "#test-support/quirky-registry";
import { remoteWith, signal } from "#test-support/remote-world";

const MIB = 1024 * 1024;
const LAYER_BYTES = 128 * MIB;
const KILLS = 10;

describe("a push that is killed ten times in mid-layer", () => {
  for (const { name, isHere, keeps, start } of KILLED_PUSH_REGISTRIES) {
    test.skipIf(!isHere)(
      `to ${name} is completed, ${keeps ? "and at most 5 % are sent twice" : "from the first byte when need be"}`,
      async () => {
        await using registry = await start();
        await using folder = await temporaryFolder();
        await using link = await openCuttingLink(registry.address, {
          cutAfterBytes: Number.POSITIVE_INFINITY,
        });
        const layer = await layerIn(folder.path);
        const push = (killedAt: number) => pushOnce(folder.path, link.address, layer, killedAt);
        for (let kill = 1; kill <= KILLS; kill += 1) {
          expect(await push((LAYER_BYTES * kill) / (KILLS + 1))).toBe("SIGKILL");
        }
        expect(await push(Number.POSITIVE_INFINITY)).toBe("sent\n");
        const target = targetAt(registry.address, { access: ANONYMOUS });
        expect(await target.has(layer, { signal })).toBe(true);
        if (keeps) expect(link.upBytes).toBeLessThan(LAYER_BYTES * 1.05);
        await using store = await openStore(folder.path, { clock: systemClock, readOnly: true });
        const left = await store.pushSessions.find(link.address, "team/app", layer.digest);
        expect(left).toBeUndefined();
      },
      60_000,
    );
  }
});

async function layerIn(dataDir: string): Promise<Descriptor> {
  await using store = await openStore(dataDir, { clock: systemClock });
  return await putBytes(store, "application/x.layer", randomBytes("a layer", LAYER_BYTES));
}

/** What the pushing program said at its end, or the signal that ended it. */
async function pushOnce(
  dataDir: string,
  address: string,
  layer: Descriptor,
  killedAt: number,
): Promise<string> {
  const script = join(import.meta.dir, "pushing-client.ts");
  const words = [dataDir, `${address}/team/app:1`, JSON.stringify(layer), String(killedAt)];
  const child = Bun.spawn([process.execPath, script, ...words], { stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  const exitCode = await child.exited;
  if (child.signalCode !== null) return String(child.signalCode);
  return exitCode === 0 ? out : err;
}

describe("a push whose n-th request goes wrong is completed, for each n, where the registry", () => {
  const small = {
    quirks: [
      { name: "small", host: /^127/, habit: { takes: "chunks", chunkBytesMax: 256 * 1024 } },
    ],
  } as const;
  const html = { status: 502, headers: { "Content-Type": "text/html" }, body: "<h1>Bad Gateway" };
  const wrongs: readonly (readonly [string, ReturnType<Interfere>])[] = [
    ["hangs up", "cut"],
    ["hangs up in the body", { cutBodyAfter: 100_000 }],
    ["loses its answer", { isLate: true, reply: "cut" }],
    ["answers with a proxy's page", html],
    ["does it, and answers with a proxy's page", { isLate: true, reply: html }],
    ["asks to wait", fault(429, "TOOMANYREQUESTS", "slow down", { "Retry-After": 1 })],
  ];
  test.each(wrongs)("%s", async (_, wrong) => {
    const image = await imageToPush([600_000, 10]);
    for (const manners of [{}, { state: "latest", forgetsCutUploads: true }] as const) {
      let requests = Number.POSITIVE_INFINITY;
      for (let n = 1; n <= requests; n += 1) {
        await using registry = await startQuirkyRegistry(manners);
        let isDone = false;
        registry.interfere = (_head, ordinal) => {
          if (ordinal !== n) return undefined;
          isDone = true;
          return wrong;
        };
        await pushImage(targetAt(registry.address, { remote: remoteWith(small) }), image);
        for (const { digest } of [...image.blobs, image.manifest]) {
          expect(registry.content("team/app", digest)).toBeDefined();
        }
        expect(registry.tag("team/app", "1")).toBe(image.manifest.digest);
        if (!isDone) requests = n;
      }
      expect(requests).toBeGreaterThan(15);
    }
  });
});
