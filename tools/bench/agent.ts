/**
 * What an agent costs that has nothing to do: starts one on a store of 10,000 blobs, and measures how
 * long it takes to answer, how much memory it holds, and how much of a core it uses. Then another one, as
 * after a restart of the machine. RssAnon is memory of its own; the rest of VmRSS are pages of the
 * executable, which the system shares and can take back.
 *
 * It is the agent's own process that is measured: its work is done by others, which have ended by then.
 * Bun gives memory back when nothing was asked of it for 10 s (BUN_IDLE_GC_SECONDS in 1.4.5).
 *
 *     npx bun tools/bench/agent.ts [--seconds 60] [--blobs 10000] [--program bin/dray]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "#base";
import { openStore } from "#store";
import { buildImage } from "../../test/support/images.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    blobs: { type: "string", default: "10000" },
    program: { type: "string", default: join(import.meta.dir, "..", "..", "bin", "dray") },
  },
});

/** An image of ten: its manifest, its config, eight layers. */
const BLOBS_OF_IMAGE = 10;

/** Clock ticks of /proc in a second, on every Linux that there is. */
const TICKS_PER_SECOND = 100;

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "dray-bench-agent-"));
  try {
    const siteFile = await fill(folder, Math.ceil(Number(values.blobs) / BLOBS_OF_IMAGE));
    console.log("the first agent, which stages, activates and proves:");
    await measure(folder, siteFile);
    console.log("the one after it, which finds all done:");
    await measure(folder, siteFile);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function fill(folder: string, images: number): Promise<string> {
  const names = Array.from({ length: images }, (_, i) => `registry.invalid/team/app-${i}:v1`);
  {
    await using store = await openStore(join(folder, "store"), { clock: systemClock });
    for (const [i, name] of names.entries()) {
      await buildImage(store, name, {
        seed: name,
        layers: BLOBS_OF_IMAGE - 2,
        layerBytes: 100 + i,
      });
    }
  }
  const [provider, ...apps] = names;
  const list = apps.map((image) => `                - image: ${image}\n`).join("");
  writeFileSync(
    join(folder, "profile.yaml"),
    `metadata: { name: bench }
spec:
  template:
    packs:
      - name: edge-native-byoi
        layer: os
        values: |
          options:
            system.uri: ${provider}
      - name: apps
        layer: addon
        values: |
          pack:
            content:
              images:
${list}`,
  );
  const siteFile = join(folder, "site.yaml");
  writeFileSync(
    siteFile,
    `apiVersion: drayage/v1
kind: Site
profiles: [profile.yaml]
dataDir: store
registry: { listen: "127.0.0.1:0" }
agent: { listen: "127.0.0.1:0" }
`,
  );
  return siteFile;
}

async function measure(folder: string, siteFile: string): Promise<void> {
  const startedMs = performance.now();
  const child = Bun.spawn([values.program, "agent", "--site", siteFile], {
    stderr: Bun.file(join(folder, "log")),
  });
  try {
    await watch(child, join(folder, "store", "agent.sock"), startedMs);
  } catch (error) {
    console.error(readFileSync(join(folder, "log"), "utf8"));
    throw error;
  } finally {
    child.kill("SIGKILL");
  }
}

async function watch(child: Bun.Subprocess, unix: string, startedMs: number): Promise<void> {
  while (!(await answers(unix))) {
    if (child.exitCode !== null) throw new Error(`${values.program} ended with ${child.exitCode}`);
    await Bun.sleep(5);
  }
  console.log(`answers after ${Math.round(performance.now() - startedMs)} ms`);
  const ms = Number(values.seconds) * 1_000;
  await Bun.sleep(ms);
  console.log(`after ${values.seconds} s: ${memory(child.pid)}`);
  const before = cpuSeconds(child.pid);
  await Bun.sleep(ms);
  const used = ((cpuSeconds(child.pid) - before) / Number(values.seconds)) * 100;
  console.log(`then ${used.toFixed(2)} % of a core, ${memory(child.pid)}`);
  const state = (await (await fetch("http://agent/api/v1/site", { unix })).json()) as {
    readonly verdict: { readonly sentence: string };
  };
  console.log(`it says: ${state.verdict.sentence}`);
  const stoppedMs = performance.now();
  child.kill("SIGTERM");
  await child.exited;
  console.log(`ended after ${Math.round(performance.now() - stoppedMs)} ms`);
}

async function answers(unix: string): Promise<boolean> {
  const response = await fetch("http://agent/healthz", { unix }).catch(() => undefined);
  return response?.ok === true;
}

function memory(pid: number): string {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => {
    const kilobytes = Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]);
    return `${name} ${((kilobytes * 1_024) / 1e6).toFixed(1)} MB`;
  };
  return [field("VmRSS"), field("RssAnon"), field("VmHWM")].join(", ");
}

function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [, , ...fields] = stat.slice(stat.lastIndexOf(")")).split(" ");
  return (Number(fields[10]) + Number(fields[11])) / TICKS_PER_SECOND;
}

await main();
