import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TOOLS_CACHE } from "./tools-cache.ts";

/** Whether the machine has it. Debian's packages are `containerd` and `runc`. */
export const hasContainerd: boolean = ["containerd", "ctr", "runc"].every(
  (program) => Bun.which(program) !== null,
);

/** A containerd that was built with Go and lies outside of the checkout, as `containerd-v2.1.4`. */
export function builtContainerd(version: string): string | undefined {
  const folder = join(TOOLS_CACHE, `containerd-${version}`);
  return existsSync(join(folder, "containerd")) ? folder : undefined;
}

/** How a containerd is set up. */
export interface ContainerdOptions {
  /** Where its programs are. Those of the machine without it. */
  readonly programs?: string;
  /** What stands below the CRI plugin's `registry` beside `config_path`: tables of credentials. */
  readonly registryToml?: string;
  /** The image of pods' sandboxes. */
  readonly sandboxImage?: string;
}

/** Debian's containerd with its CRI plugin, in folders of its own, running until it is disposed of. */
export interface Containerd extends AsyncDisposable {
  readonly socket: string;
  /** Where it looks for mirrors: `config_path`. */
  readonly certsDir: string;
  readonly folder: string;
  /** Runs `ctr` in a namespace of the test's; gives what it prints, or throws with that. */
  ctr(...words: readonly string[]): Promise<string>;
  /** Pulls by the mirrors of {@link Containerd.certsDir}, as `ctr` does, which ignores those of CRI. */
  pull(reference: string): Promise<string>;
}

/** Starts a containerd. It needs root, for it mounts. */
export async function startContainerd(options: ContainerdOptions = {}): Promise<Containerd> {
  const folder = await mkdtemp(join(tmpdir(), "drayage-containerd-"));
  await using undo = new AsyncDisposableStack();
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  const certsDir = join(folder, "certs.d");
  const socket = join(folder, "c.sock");
  await mkdir(certsDir);
  await mkdir(join(folder, "cni"));
  await writeFile(join(folder, "config.toml"), configuration(folder, certsDir, options));
  const log = join(folder, "log");
  // A session of its own: what it starts must not die with the terminal of the test.
  const child = spawn(
    "setsid",
    [...["sh", "-c", 'exec containerd -c "$0" >"$1" 2>&1'], ...[join(folder, "config.toml"), log]],
    { env: environment(options.programs) },
  );
  const ended = new Promise<void>((done) => child.on("close", () => done()));
  undo.defer(async () => {
    child.kill("SIGTERM");
    await ended;
    await unmountBelow(folder);
  });
  const ctr = (...words: readonly string[]) => run("ctr", "-a", socket, "-n", "drayage", ...words);
  await answered(ctr, ended, log);
  const stack = undo.move();
  return {
    ...{ socket, certsDir, folder, ctr },
    pull: (reference) => ctr("images", "pull", "--hosts-dir", certsDir, reference),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function configuration(
  folder: string,
  certsDir: string,
  { registryToml = "", sandboxImage = "registry.k8s.io/pause:3.9" }: ContainerdOptions,
): string {
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
[grpc]
  address = "${folder}/c.sock"
[ttrpc]
  address = "${folder}/c.ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${sandboxImage}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${certsDir}"
${registryToml}
`;
}

/** Its shim must be of the same version, and it looks for that along the path. */
function environment(programs: string | undefined): NodeJS.ProcessEnv {
  const { PATH = "" } = process.env;
  return { ...process.env, PATH: programs === undefined ? PATH : `${programs}:${PATH}` };
}

async function answered(
  ctr: (...words: readonly string[]) => Promise<string>,
  ended: Promise<void>,
  log: string,
): Promise<void> {
  const died = ended.then(async () => {
    throw new Error(`containerd ended: ${await readFile(log, "utf8")}`);
  });
  const probe = async () => {
    for (;;) {
      try {
        await ctr("version");
        return;
      } catch {
        await Bun.sleep(20);
      }
    }
  };
  await Promise.race([died, probe()]);
  died.catch(() => undefined);
}

/** What containers and sandboxes left mounted, the innermost first. */
async function unmountBelow(folder: string): Promise<void> {
  const mounts = (await readFile("/proc/self/mounts", "utf8")).split("\n");
  const paths = mounts.flatMap((line) => line.split(" ")[1] ?? []);
  for (const path of paths.filter((each) => each.startsWith(`${folder}/`)).reverse()) {
    await run("umount", "-l", path).catch(() => undefined);
  }
}

async function run(...command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${err}${out}`);
  return out.trim();
}
