import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLoopbackRegistry } from "#test-support/loopback-registry";
import { SAMPLE_IMAGES, SAMPLE_LOGIN, writeSampleSite } from "#test-support/sample-site";
import { release } from "../../tools/release.ts";
import { run } from "../../tools/step.ts";
import { TARGETS } from "../../tools/targets.ts";

// A Debian is put together from its packages.
setDefaultTimeout(600_000);

const MISSING = [
  ...["debootstrap", "chroot", "unshare"].filter((program) => Bun.which(program) === null),
  ...(process.geteuid?.() === 0 ? [] : ["root"]),
];
if (MISSING.length > 0) {
  console.warn(`${MISSING.join(" and ")} missing: nothing is tried on a bare Debian`);
}

describe.skipIf(MISSING.length > 0)("on a Debian with nothing but itself", () => {
  let scratch = "";
  let root = "";

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "drayage-debian-"));
    root = join(scratch, "root");
    const made = await run(["debootstrap", "--variant=minbase", "bookworm", root], {
      timeLimitMs: 500_000,
    });
    if (made.exitCode !== 0) throw new Error(`Cannot make a Debian:\n${made.output}`);
    const own = TARGETS.filter(({ name }) => name === `dray-linux-${process.arch}`);
    await release(join(scratch, "release"), own);
  });

  afterAll(async () => {
    await rm(scratch, { recursive: true, force: true });
  });

  /**
   * A command in it, with an environment of its own and /proc, without which Bun's engine aborts. The
   * mount is in a namespace of the command's, so that nothing of it is left.
   */
  function within(...command: readonly string[]): readonly string[] {
    const enter = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"';
    return [
      ...["env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root"],
      ...["unshare", "--mount", "sh", "-c", enter, root, ...command],
    ];
  }

  async function inside(...command: readonly string[]) {
    return await run(within(...command));
  }

  test("it has no Node and no Bun", async () => {
    const look = "for each in chroot node nodejs npm bun; do command -v $each; done; true";
    expect((await inside("sh", "-c", look)).output).toBe("/usr/sbin/chroot\n");
  });

  test("install.sh of the release installs there, and what it installed starts", async () => {
    const installed = await run([join(scratch, "release", "install.sh"), "--root", root]);
    expect(installed).toMatchObject({ exitCode: 0 });
    const { exitCode, output } = await inside("dray", "--version");
    expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
    expect(output).toMatch(/^\d+\.\d+\.\d+/);
  });

  test("it plans, delivers from a registry and serves what it delivered", async () => {
    await run([join(scratch, "release", "install.sh"), "--root", root]);
    const images = Object.fromEntries(
      SAMPLE_IMAGES.map((name) => [
        `spectro-images/${name}`,
        { seed: name, layers: 2, layerBytes: 50_000, platforms: ["linux/amd64", "linux/arm64"] },
      ]),
    );
    await using registry = await startLoopbackRegistry(join(scratch, "registry"), {
      images,
      login: SAMPLE_LOGIN,
    });
    await writeSampleSite(join(scratch, "site"), registry.address);
    await mkdir(join(root, "srv"), { recursive: true });
    await cp(join(scratch, "site"), join(root, "srv", "site"), { recursive: true });
    const inputs = [
      "--profile=/srv/site/edge-rke2/profile.yaml",
      "--user-data=/srv/site/edge-rke2/user-data.yaml",
    ];
    const plan = await inside("dray", "plan", ...inputs, "--output=json");
    expect(plan).toMatchObject({ exitCode: 0, output: expect.stringContaining('"kind": "Plan"') });

    const here = ["--platform=linux/amd64", "--data-dir=/srv/store"];
    const delivered = await inside("dray", "deliver", ...inputs, ...here);
    expect(delivered).toMatchObject({ exitCode: 0 });
    expect(delivered.output).toContain(`${SAMPLE_IMAGES.length} images`);
    expect(await inside("dray", "verify", "--data-dir=/srv/store")).toMatchObject({ exitCode: 0 });

    const serve = ["dray", "registry", "serve", "-d", "/srv/store", "-l", "127.0.0.1:0"];
    const child = Bun.spawn([...within(...serve)], { stdio: ["ignore", "ignore", "pipe"] });
    try {
      const [, address] = await told(child.stderr, /\bon https?:\/\/(\S+)\n/);
      const answer = await fetch(`http://${address}/v2/quay.io/calico/node/manifests/v3.27.0`, {
        headers: { accept: "application/vnd.oci.image.index.v1+json" },
      });
      expect(answer.status).toBe(200);
      expect(await answer.json()).toMatchObject({ schemaVersion: 2 });
    } finally {
      child.kill();
      await child.exited;
    }
  });

  test("its agent starts there with no inputs yet, and serves the page out of itself", async () => {
    await run([join(scratch, "release", "install.sh"), "--root", root]);
    const agent = [
      "dray",
      "agent",
      "-d",
      "/srv/agent",
      "-s",
      "/srv/agent.yaml",
      "-l",
      "127.0.0.1:0",
    ];
    await Bun.write(
      join(root, "srv", "agent.yaml"),
      'profiles: [absent.yaml]\nregistry: { listen: "127.0.0.1:0" }\n',
    );
    const child = Bun.spawn([...within(...agent)], { stdio: ["ignore", "ignore", "pipe"] });
    try {
      await told(child.stderr, /revision-refused/);
      const status = await inside("dray", "status", "-d", "/srv/agent", "-o", "json");
      const { parts } = JSON.parse(status.output);
      const address = parts.find(({ name }: { name: string }) => name === "api").address;
      const page = await (await fetch(address)).text();
      const assets = [...page.matchAll(/(?:src|href)="\/?([\w./-]+\.(?:js|css|svg))"/g)];
      expect(assets.length).toBeGreaterThan(1);
      for (const [, name = ""] of assets) {
        expect((await fetch(new URL(name, address))).status).toBe(200);
      }
    } finally {
      child.kill();
      await child.exited;
    }
  });

  /** Reads what a program says until it says that. */
  async function told(
    stderr: ReadableStream<Uint8Array<ArrayBuffer>>,
    wanted: RegExp,
  ): Promise<RegExpExecArray> {
    let said = "";
    for await (const chunk of stderr.pipeThrough(new TextDecoderStream())) {
      said += chunk;
      const found = wanted.exec(said);
      if (found !== null) return found;
    }
    throw new Error(`It ended without saying ${wanted}: ${said}`);
  }
});
