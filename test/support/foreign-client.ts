import { join } from "node:path";

/**
 * Runs a client of somebody else's in a folder of its own, where it finds no configuration of the machine's.
 *
 * @returns what it printed
 * @throws {Error} with what it said, when it ends with anything but 0
 */
export async function runClient(
  folder: string,
  command: readonly string[],
  stdin = "",
): Promise<string> {
  const child = Bun.spawn([...command], {
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      HOME: folder,
      XDG_RUNTIME_DIR: folder,
      DOCKER_CONFIG: folder,
      REGCTL_CONFIG: join(folder, "regctl.json"),
      // Of the keys that cosign makes.
      COSIGN_PASSWORD: "",
    },
    stdin: new TextEncoder().encode(stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${exitCode}: ${err}${out}`);
  return out.trim();
}

/** Whether none of these programs is missing; says so when one is, for its tests are left out. */
export function haveClients(...programs: readonly string[]): boolean {
  const missing = programs.filter((program) => Bun.which(program) === null);
  if (missing.length > 0) {
    console.warn(`${missing.join(" and ")} not installed: its tests are left out`);
  }
  return missing.length === 0;
}
