import { EXECUTABLE } from "./executable.ts";
import { linkOwnExecutable, release } from "./release.ts";

export { type Build, build, EXECUTABLE } from "./executable.ts";

/** From start to exit of `--version`: the median of several runs, in milliseconds. */
function startTimeMs(executable: string): number {
  const timesMs = Array.from({ length: 21 }, () => {
    const startedMs = performance.now();
    const { exitCode } = Bun.spawnSync([executable, "--version"], { stdout: "ignore" });
    if (exitCode !== 0) throw new Error(`Cannot start ${executable}: it ended with ${exitCode}`);
    return performance.now() - startedMs;
  });
  return timesMs.sort((a, b) => a - b)[10] ?? Number.NaN;
}

if (import.meta.main) {
  const { version, revision, executables } = await release();
  await linkOwnExecutable();
  for (const { name, sizeBytes, sha256 } of executables) {
    console.log(`dist/${name.padEnd(22)} ${(sizeBytes / 1024 ** 2).toFixed(1)} MiB  ${sha256}`);
  }
  const startMs = startTimeMs(EXECUTABLE);
  console.log(`${version} (${revision}), starts in ${startMs.toFixed(0)} ms`);
}
