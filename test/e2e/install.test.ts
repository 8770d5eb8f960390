import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { appendFile, cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { ROOT, run, withScratch } from "../../tools/step.ts";

// Some install a dozen times, each with many small programs.
setDefaultTimeout(60_000);

const EXECUTABLE = `dray-linux-${process.arch}`;
const BINARY = "usr/local/bin/dray";
const UNIT = "etc/systemd/system/drayage.service";
const SITE = "etc/drayage/site.yaml";

/** The script must do with any POSIX shell; which of them are here differs. */
const SHELLS = [["dash"], ["bash", "--posix"], ["busybox", "sh"]].filter(
  ([program = ""]) => Bun.which(program) !== null,
);

/** A release and a root to install it into. */
class Machine {
  readonly root: string;
  readonly from: string;
  readonly #shell: readonly string[];

  constructor(scratch: string, shell: readonly string[]) {
    this.root = join(scratch, "root");
    this.from = join(scratch, "release of today");
    this.#shell = shell;
  }

  /** Files of a release; the executable is a script that says its version. */
  async release(version: string): Promise<void> {
    await rm(this.from, { recursive: true, force: true });
    await mkdir(this.from, { recursive: true });
    const files: Record<string, string> = {
      [EXECUTABLE]: `#!/bin/sh\necho ${version}\n`,
      "drayage.service": `[Service]\nExecStart=/usr/local/bin/dray agent\n# ${version}\n`,
      "site.example.yaml": `apiVersion: drayage/v1\n# ${version}\n`,
      "LICENSES.txt": `licences of ${version}\n`,
    };
    const sums: string[] = [];
    for (const [name, text] of Object.entries(files)) {
      await writeFile(join(this.from, name), text);
      sums.push(`${createHash("sha256").update(text).digest("hex")}  ${name}\n`);
    }
    await writeFile(join(this.from, "SHA256SUMS"), sums.join(""));
    await cp(join(ROOT, "install.sh"), join(this.from, "install.sh"));
  }

  async install(...words: readonly string[]) {
    return await run([
      ...this.#shell,
      join(this.from, "install.sh"),
      `--root`,
      this.root,
      ...words,
    ]);
  }

  /** Installs, and kills the shell at its n-th `mv`, as a power cut would. */
  async installUntilMove(count: number) {
    const tools = join(this.from, "tools");
    await mkdir(tools);
    const mv = `#!/bin/sh
echo x >>"${tools}/moves"
if [ "$(wc -l <"${tools}/moves")" -eq ${count} ]; then kill -9 $PPID; exit 1; fi
exec ${Bun.which("mv")} "$@"
`;
    await writeFile(join(tools, "mv"), mv, { mode: 0o755 });
    const env = [`PATH=${tools}:${process.env["PATH"]}`];
    const command = [...this.#shell, join(this.from, "install.sh"), "--root", this.root];
    return await run(["env", ...env, ...command]);
  }

  /** Every file of the root with its text. */
  async files(): Promise<Record<string, string>> {
    const entries = await readdir(this.root, { recursive: true, withFileTypes: true });
    const found: Record<string, string> = {};
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name);
      if (entry.isFile()) found[path.slice(this.root.length + 1)] = await readFile(path, "utf8");
    }
    return found;
  }

  /** Every folder of the root. */
  async folders(): Promise<readonly string[]> {
    const entries = await readdir(this.root, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(this.root.length + 1))
      .sort();
  }

  async write(path: string, text: string): Promise<void> {
    await mkdir(join(this.root, path, ".."), { recursive: true });
    await writeFile(join(this.root, path), text);
  }
}

describe.each(SHELLS.map((shell) => [shell.join(" "), shell] as const))("%s", (_, shell) => {
  async function onMachine(
    use: (machine: Machine) => Promise<void>,
    { systemd = true }: { systemd?: boolean } = {},
  ): Promise<void> {
    await withScratch(async (scratch) => {
      const machine = new Machine(scratch, shell);
      await mkdir(machine.root);
      if (systemd) await mkdir(join(machine.root, "run/systemd/system"), { recursive: true });
      await machine.release("1.0.0");
      await use(machine);
    });
  }

  test("a first install puts program, unit, example and a site file to be edited in place", () =>
    onMachine(async (machine) => {
      const { exitCode, output } = await machine.install();
      expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
      const files = await machine.files();
      expect(Object.keys(files).sort()).toEqual([
        "etc/drayage/site.example.yaml",
        SITE,
        UNIT,
        BINARY,
        "usr/local/share/drayage/LICENSES.txt",
        "usr/local/share/drayage/installed",
      ]);
      expect((await run([join(machine.root, BINARY)])).output).toBe("1.0.0\n");
      expect(files[SITE]).toBe(files["etc/drayage/site.example.yaml"] as string);
    }));

  test("the unit starts the program where --prefix puts it", () =>
    onMachine(async (machine) => {
      expect((await machine.install("--prefix", "/opt/dray/")).exitCode).toBe(0);
      const files = await machine.files();
      expect(files["opt/dray/bin/dray"]).toContain("1.0.0");
      expect(files[UNIT]).toContain("ExecStart=/opt/dray/bin/dray agent");
    }));

  test("without systemd there is no unit", () =>
    onMachine(
      async (machine) => {
        expect((await machine.install()).exitCode).toBe(0);
        const files = await machine.files();
        expect(files[UNIT]).toBeUndefined();
        expect(files[BINARY]).toBeDefined();
      },
      { systemd: false },
    ));

  test.each([EXECUTABLE, "drayage.service", "site.example.yaml"])(
    "a damaged %s is refused, and nothing is changed",
    (name) =>
      onMachine(async (machine) => {
        const before = await machine.folders();
        await appendFile(join(machine.from, name), "x");
        const { exitCode, output } = await machine.install();
        expect({ exitCode, output }).toMatchObject({ exitCode: 1 });
        expect(output).toContain(`Cannot install ${name}: its SHA-256 is`);
        expect(await machine.files()).toEqual({});
        expect(await machine.folders()).toEqual(before);
      }),
  );

  test("a file that SHA256SUMS does not name is refused", () =>
    onMachine(async (machine) => {
      await writeFile(join(machine.from, "SHA256SUMS"), "");
      const { exitCode, output } = await machine.install();
      expect({ exitCode, output }).toMatchObject({ exitCode: 1 });
      expect(output).toContain("SHA256SUMS does not name it");
      expect(await machine.files()).toEqual({});
    }));

  test("an upgrade replaces what nobody edited and leaves the site file", () =>
    onMachine(async (machine) => {
      await machine.install();
      await machine.write(SITE, "mine\n");
      await machine.release("2.0.0");
      expect((await machine.install()).exitCode).toBe(0);
      const files = await machine.files();
      expect(files[SITE]).toBe("mine\n");
      expect(files[BINARY]).toContain("2.0.0");
      expect(files[UNIT]).toContain("2.0.0");
      expect(files["etc/drayage/site.example.yaml"]).toContain("2.0.0");
      expect(Object.keys(files).some((name) => name.endsWith(".new"))).toBe(false);
    }));

  test("an edited unit stays through upgrades, the new one beside it", () =>
    onMachine(async (machine) => {
      await machine.install();
      await machine.write(UNIT, "mine\n");
      for (const version of ["2.0.0", "3.0.0"]) {
        await machine.release(version);
        const { exitCode, output } = await machine.install();
        expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
        expect(output).toContain("which was edited");
        const files = await machine.files();
        expect(files[UNIT]).toBe("mine\n");
        expect(files[`${UNIT}.new`]).toContain(version);
      }
    }));

  test("a program that lies there already, and is not ours, is not replaced", () =>
    onMachine(async (machine) => {
      await machine.write(BINARY, "somebody's\n");
      const { exitCode, output } = await machine.install();
      expect({ exitCode, output }).toMatchObject({ exitCode: 1 });
      expect(await machine.files()).toEqual({ [BINARY]: "somebody's\n" });
    }));

  test("uninstall leaves what was there before, the configuration and the data", () =>
    onMachine(async (machine) => {
      await machine.write("usr/local/bin/other", "other\n");
      const before = await machine.files();
      const foldersBefore = await machine.folders();
      await machine.install();
      await machine.write(SITE, "mine\n");
      await machine.write("var/lib/drayage/oci-layout", "{}");
      const { exitCode, output } = await machine.install("--uninstall");
      expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
      expect(await machine.files()).toEqual({
        ...before,
        [SITE]: "mine\n",
        "var/lib/drayage/oci-layout": "{}",
      });
      const left = (await machine.folders()).filter((name) => !foldersBefore.includes(name));
      expect(left).toEqual(["etc", "etc/drayage", "var", "var/lib", "var/lib/drayage"]);
    }));

  test("uninstall with --purge leaves nothing", () =>
    onMachine(async (machine) => {
      const before = await machine.folders();
      await machine.install();
      await machine.write("etc/drayage/team-password", "secret");
      await machine.write("var/lib/drayage/blobs/sha256/00", "blob");
      await machine.write("var/lib/drayage/oci-layout", "{}");
      const { exitCode, output } = await machine.install("--uninstall", "--purge");
      expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
      expect(await machine.files()).toEqual({});
      expect(await machine.folders()).toEqual([...before, "var", "var/lib"].sort());
    }));

  test("--purge keeps a data folder that is no store, and says where else the site file has one", () =>
    onMachine(async (machine) => {
      await machine.install();
      await machine.write(SITE, 'dataDir: "/srv/store" # a disk of its own\n');
      await machine.write("srv/store/oci-layout", "{}");
      await machine.write("var/lib/drayage/photos", "mine");
      const { output } = await machine.install("--uninstall", "--purge");
      expect(output).toContain("/srv/store, which /etc/drayage/site.yaml names as dataDir");
      expect(await machine.files()).toEqual({
        "srv/store/oci-layout": "{}",
        "var/lib/drayage/photos": "mine",
      });
    }));

  test("uninstall leaves an edited unit, and a second one says that nothing is installed", () =>
    onMachine(async (machine) => {
      await machine.install();
      await machine.write(UNIT, "mine\n");
      expect((await machine.install("--uninstall")).output).toContain(`kept       /${UNIT}`);
      expect((await machine.files())[UNIT]).toBe("mine\n");
      const { exitCode, output } = await machine.install("--uninstall");
      expect({ exitCode, output }).toMatchObject({ exitCode: 1 });
      expect(output).toContain("nothing was installed");
    }));

  test("an upgrade that was killed at any move is done again, and can be undone", async () => {
    for (let at = 1; at <= 6; at += 1) {
      await onMachine(async (machine) => {
        await machine.install();
        await machine.release("2.0.0");
        expect((await machine.installUntilMove(at)).exitCode).not.toBe(0);
        const files = await machine.files();
        expect(files[BINARY]).toMatch(/^#!\/bin\/sh\necho [12]\.0\.0\n$/);
        const again = await machine.install();
        expect(again).toMatchObject({ exitCode: 0 });
        expect(again.output).not.toContain("edited");
        expect((await machine.files())[UNIT]).toContain("2.0.0");
        await rm(join(machine.root, SITE));
        await machine.install("--uninstall");
        expect(await machine.files()).toEqual({});
      });
    }
  });

  test("a first install that was killed at any move can be undone", async () => {
    for (let at = 2; at <= 7; at += 1) {
      await onMachine(async (machine) => {
        expect((await machine.installUntilMove(at)).exitCode).not.toBe(0);
        expect((await machine.install("--uninstall", "--purge")).exitCode).toBe(0);
        expect(await machine.files()).toEqual({});
      });
    }
  });

  test("a folder in the place of a file is refused before anything is changed", () =>
    onMachine(async (machine) => {
      await machine.write(`${UNIT}/x`, "mine\n");
      const { exitCode, output } = await machine.install();
      expect({ exitCode, output }).toMatchObject({ exitCode: 1 });
      expect(output).toContain("a folder is there");
      expect(await machine.files()).toEqual({ [`${UNIT}/x`]: "mine\n" });
    }));

  test.each([
    [["--purge"], "--purge goes with --uninstall"],
    [["--prefix"], "--prefix has no value"],
    [["--prefix", "relative"], "expected an absolute path"],
    [["--prefix", "/opt/a b"], "expected letters"],
    [["--verbose"], "Unknown word --verbose"],
  ])("%p is refused", (words, message) =>
    onMachine(async (machine) => {
      const { exitCode, output } = await machine.install(...words);
      expect({ exitCode, output }).toMatchObject({ exitCode: 2 });
      expect(output).toContain(message);
      expect(await machine.files()).toEqual({});
    }),
  );

  test("a folder that can't be written is told of", () =>
    onMachine(async (machine) => {
      await machine.write("usr", "a file\n");
      const { exitCode, output } = await machine.install();
      expect({ exitCode, output }).toMatchObject({ exitCode: 1 });
      expect(output).toContain("Cannot make");
    }));
});

test("install.sh is executable", async () => {
  expect((await run([join(ROOT, "install.sh"), "--help"])).output).toContain("Usage: install.sh");
});

test.skipIf(Bun.which("shellcheck") === null)(
  "shellcheck finds nothing in install.sh",
  async () => {
    expect(await run(["shellcheck", join(ROOT, "install.sh")])).toEqual({
      exitCode: 0,
      output: "",
    });
  },
);
