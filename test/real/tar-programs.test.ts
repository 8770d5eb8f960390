import { describe, expect, test } from "bun:test";
import { haveClients } from "#test-support/foreign-client";
import { temporaryFolder } from "#test-support/program";
import { readEntries } from "#test-support/tar";

/** Runs a program in a folder that holds what it shall pack, and gives what it wrote to stdout. */
async function packed(command: readonly string[]): Promise<Uint8Array> {
  await using folder = await temporaryFolder();
  const prepare = `printf abc >file; mkdir -p ${"deep/".repeat(40)}; ln file hard; ln -s ${"t/".repeat(80)} soft
      printf x >${"n".repeat(200)}; truncate -s 10M sparse; printf middle | dd of=sparse bs=1 seek=5000000 conv=notrunc 2>/dev/null
      setfattr -n user.a -v b file 2>/dev/null || true; mkfifo fifo; touch -d '2020-02-03 04:05:06.789' file`;
  const run = Bun.spawn(["sh", "-c", `${prepare}; exec "$@"`, "sh", ...command], {
    cwd: folder.path,
    stdout: "pipe",
    stderr: "ignore",
  });
  return new Uint8Array(await new Response(run.stdout).arrayBuffer());
}

const PYTHON = (format: string) => [
  "python3",
  "-c",
  `import sys,tarfile; t=tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.${format}); t.add("."); t.close()`,
];

describe("archives of other programs", () => {
  const programs: readonly (readonly [string, readonly string[]])[] = [
    ["GNU tar, its own format", ["tar", "--format=gnu", "-cf-", "."]],
    ["GNU tar, PAX", ["tar", "--format=posix", "--xattrs", "-cf-", "."]],
    ["GNU tar, old sparse format", ["tar", "--format=gnu", "-Scf-", "."]],
    ["GNU tar, sparse 0.0", ["tar", "--format=posix", "-Scf-", "--sparse-version=0.0", "."]],
    ["GNU tar, sparse 0.1", ["tar", "--format=posix", "-Scf-", "--sparse-version=0.1", "."]],
    ["GNU tar, sparse 1.0", ["tar", "--format=posix", "-Scf-", "--sparse-version=1.0", "."]],
    ["bsdtar", ["bsdtar", "-cf-", "."]],
    ["bsdtar, PAX", ["bsdtar", "--format=pax", "-cf-", "."]],
    ["Python, PAX", PYTHON("PAX_FORMAT")],
    ["Python, GNU", PYTHON("GNU_FORMAT")],
  ];
  const isHere = ([, [program = ""]]: (typeof programs)[number]) => haveClients(program);

  test.each(programs.filter(isHere))("%s", async (_, command) => {
    const entries = await readEntries(await packed(command));
    const find = (name: string) => entries.find(({ path }) => path.replace(/^\.\//, "") === name);
    expect(find("n".repeat(200))?.content).toBe("x");
    expect(find("soft")).toMatchObject({ type: "symlink", linkPath: "t/".repeat(80) });
    expect(find("fifo")?.type).toBe("fifo");
    const pair = [find("file"), find("hard")];
    expect(pair.map((entry) => entry?.type).sort()).toEqual(["file", "hardlink"]);
    expect(pair.find((entry) => entry?.type === "file")?.content).toBe("abc");
    const folders = entries.filter(({ type }) => type === "folder");
    expect(
      folders.some(
        ({ path }) =>
          path.endsWith(`${"deep/".repeat(39)}deep/`) || path.endsWith(`${"deep/".repeat(39)}deep`),
      ),
    ).toBe(true);
    const sparse = find("sparse");
    expect(sparse?.size).toBe(10 * 1024 * 1024);
    if (command.includes("-Scf-")) expect(sparse?.holes).toBeGreaterThan(10_000_000);
    expect(sparse?.content.length).toBe(10 * 1024 * 1024);
    expect(sparse?.content.indexOf("middle")).toBe(5_000_000);
    expect(sparse?.content.replace("middle", "").replaceAll("\0", "")).toBe("");
    expect(Math.abs((find("file") ?? find("hard"))?.mtime.seconds ?? 0)).toBeGreaterThan(1.5e9);
  });
});
