import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import { openStore } from "#store";
import { buildImage } from "#test-support/images";
import { dray, temporaryFolder } from "#test-support/program";
import { SAMPLE_PROFILE } from "#test-support/sample-site";

// Programs are started: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const PASSWORD = "hunter2-of-the-node";

async function openNode() {
  const folder = await temporaryFolder();
  const configDir = join(folder.path, "certs.d");
  await writeFile(join(folder.path, "password"), `${PASSWORD}\n`);
  const site = `apiVersion: drayage/v1\nkind: Site\nlocalRegistry:\n  kind: harbor\n  address: 10.0.0.5:30003\n  nodes: {username: robot, passwordFile: password}\n`;
  await writeFile(join(folder.path, "site.yaml"), site);
  const redirect = (runtime: string, ...more: readonly string[]) =>
    dray(["redirect", runtime, `--config-dir=${configDir}`, ...more]);
  return {
    folder: folder.path,
    configDir,
    inputs: [`--profile=${SAMPLE_PROFILE}`, `--site=${join(folder.path, "site.yaml")}`],
    redirect,
    files: async () => {
      const names = await readdir(configDir, { recursive: true }).catch(() => []);
      return names.filter((name) => /\.[a-z-]+$/.test(name) && !name.endsWith(".io")).sort();
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe("dray redirect", () => {
  test("--dry-run shows a diff without any secret, and writes nothing", async () => {
    await using node = await openNode();
    const { out, exitCode } = await node.redirect("containerd", ...node.inputs, "--dry-run");
    expect(exitCode).toBe(0);
    expect(out).toContain("+++ ");
    expect(out).toContain("+    Authorization = [secret]");
    expect(out).not.toContain(PASSWORD);
    expect(out).not.toContain(Buffer.from(`robot:${PASSWORD}`).toString("base64"));
    expect(await node.files()).toEqual([]);
  });

  test("writes, changes nothing when run again, and --remove leaves what was there before", async () => {
    await using node = await openNode();
    const own = join(node.configDir, "quay.io");
    await mkdir(own, { recursive: true });
    const theirs = '# of the lab\n[host."https://lab"]\n  capabilities = ["pull"]';
    await writeFile(join(own, "hosts.toml"), theirs);
    const first = await node.redirect("containerd", ...node.inputs);
    expect(first.exitCode).toBe(0);
    expect(first.out).toContain(`changed ${join(own, "hosts.toml")}`);
    expect(first.out).toContain("config_path");
    expect(await node.files()).toContain("quay.io/hosts.toml.drayage-backup");
    const again = await node.redirect("containerd", ...node.inputs, "-o", "json");
    const { files } = JSON.parse(again.out);
    expect(files.map(({ change }: { change: string }) => change)).toEqual(
      files.map(() => "unchanged"),
    );
    expect(again.out).not.toContain(PASSWORD);
    expect((await node.redirect("containerd", "--remove")).exitCode).toBe(0);
    expect(await node.files()).toEqual(["quay.io/hosts.toml"]);
    expect(await Bun.file(join(own, "hosts.toml")).text()).toBe(theirs);
  });

  test("the site file says where the files are and how nodes reach the embedded registry", async () => {
    await using node = await openNode();
    const site = join(node.folder, "site.yaml");
    const more = `runtime: {kind: k3s, configDir: ${node.configDir}}\nregistry: {listen: "0.0.0.0:5055", address: "10.0.0.9:5055"}\n`;
    await writeFile(site, `${await Bun.file(site).text()}${more}`);
    const redirect = (...words: readonly string[]) => dray(["redirect", ...words]);
    // Nothing is written before it is sure that it is not written to this machine's own files.
    expect((await redirect("k3s", ...node.inputs, "--dry-run")).out).toContain(node.configDir);
    expect(await redirect("k3s", ...node.inputs)).toMatchObject({ exitCode: 0 });
    const written = await Bun.file(join(node.configDir, "registries.yaml")).text();
    expect(written).toContain("https://10.0.0.9:5055");
    // The folder is that of the runtime which the site has, and of no other.
    const other = await redirect("rke2", ...node.inputs, "--dry-run");
    expect(other.out).toContain("/etc/rancher/rke2/registries.yaml");
    expect(await redirect("k3s", "--remove", `--site=${site}`)).toMatchObject({ exitCode: 0 });
    expect(await node.files()).toEqual([]);
  });

  test("a registry that only core images in the store come from gets a mirror too", async () => {
    await using node = await openNode();
    const dataDir = join(node.folder, "store");
    const words = [...node.inputs, "--dry-run", `--data-dir=${dataDir}`];
    // Before the first delivery there is none, which is no fault.
    expect((await node.redirect("containerd", ...words)).out).not.toContain("core.example");
    await using store = await openStore(dataDir, { clock: systemClock });
    const provider = "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";
    const { digest: manifest } = await buildImage(store, provider, { seed: "os" });
    const names = ["core.example/pause:3.9"];
    await store.provider.begin({ provider, manifest, settings: "{}", names });
    const { out, exitCode } = await node.redirect("containerd", ...words);
    expect(out).toContain(join("core.example", "hosts.toml"));
    expect(exitCode).toBe(0);
  });

  test("a store that can't be read is warned of, and the hosts of the plan get their mirrors", async () => {
    await using node = await openNode();
    await writeFile(join(node.folder, "no-store"), "");
    const words = [...node.inputs, "--dry-run", `--data-dir=${join(node.folder, "no-store", "x")}`];
    const { out, err, exitCode } = await node.redirect("containerd", ...words);
    expect(err).toContain("core images");
    expect(out).toContain("hosts.toml");
    expect(exitCode).toBe(0);
  });

  test("a file of a person's that is broken is refused at its place, and nothing is written", async () => {
    await using node = await openNode();
    await mkdir(join(node.configDir, "quay.io"), { recursive: true });
    await writeFile(join(node.configDir, "quay.io", "hosts.toml"), 'server = "x"\n[host."a"\n');
    const { exitCode, err } = await node.redirect("containerd", ...node.inputs);
    expect(exitCode).toBe(2);
    expect(err).toMatch(/quay\.io\/hosts\.toml:\d+:\d+: .*\[toml-invalid\]/);
    expect(await node.files()).toEqual(["quay.io/hosts.toml"]);
  });

  test("k3s and RKE2 get one file, and are to be restarted when it changed", async () => {
    await using node = await openNode();
    for (const runtime of ["k3s", "rke2"]) {
      const { out, exitCode } = await node.redirect(runtime, ...node.inputs, "-o", "json");
      expect(exitCode).toBe(0);
      const { advice, files } = JSON.parse(out);
      expect(JSON.stringify(advice).includes("restart")).toBe(files[0].change !== "unchanged");
    }
    expect(await node.files()).toEqual(["registries.yaml"]);
    expect((await node.redirect("k3s", "--remove")).exitCode).toBe(0);
    expect(await node.files()).toEqual([]);
  });

  test("imageRedirectWebhook.enable: false switches it off, unless runtime.kind is written", async () => {
    await using node = await openNode();
    const userData = join(node.folder, "user-data.yaml");
    await writeFile(
      userData,
      "#cloud-config\nstylus:\n  imageRedirectWebhook:\n    enable: false\n",
    );
    const off = await node.redirect("containerd", ...node.inputs, `--user-data=${userData}`);
    expect(off).toMatchObject({ exitCode: 0 });
    expect(off.err).toContain("redirect-off");
    expect(await node.files()).toEqual([]);
    const site = join(node.folder, "site.yaml");
    await writeFile(site, `${await Bun.file(site).text()}runtime: {kind: containerd}\n`);
    await node.redirect("containerd", ...node.inputs, `--user-data=${userData}`);
    expect(await node.files()).not.toEqual([]);
  });

  test.each([
    [["containerd"], "--profile"],
    [["containerd", "--via=external", `--profile=${SAMPLE_PROFILE}`], "rewrites"],
    [["docker", `--profile=${SAMPLE_PROFILE}`], "containerd, k3s, rke2"],
    [["k3s", `--profile=${SAMPLE_PROFILE}`, "--embedded=https://a/b"], "host:port"],
    [["k3s", `--profile=${SAMPLE_PROFILE}`, "--embedded-user=a"], "--embedded-password-file"],
  ])("%p is refused, and says what is expected", async (words, expected) => {
    const { exitCode, err } = await dray(["redirect", ...words, "--config-dir=/nonexistent"]);
    expect(err.replaceAll("\n", " ")).toContain(expected);
    expect(exitCode).toBe(2);
  });

  test("a folder that is read-only is told of, with what to do", async () => {
    await using node = await openNode();
    await mkdir(node.configDir);
    const isRoot = process.getuid?.() === 0;
    // Rights stop everybody but root, whom a read-only file system stops.
    if (isRoot) Bun.spawnSync(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", node.configDir]);
    else await chmod(node.configDir, 0o500);
    try {
      const { exitCode, err } = await node.redirect("containerd", ...node.inputs);
      expect(err).toContain("No file was changed [config-unwritable]");
      expect(err).toContain(isRoot ? "read-only" : "this user may not write");
      expect(exitCode).toBe(1);
    } finally {
      if (isRoot) Bun.spawnSync(["umount", node.configDir]);
    }
  });
});
