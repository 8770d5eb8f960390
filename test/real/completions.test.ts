import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { dray, temporaryFolder } from "#test-support/program";

// Shells are started: on a busy machine that takes its time.
setDefaultTimeout(60_000);

/** A folder with the scripts, and with files and folders to be found. */
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
/** Where there is a script of each shell. */
const script = (shell: string) => join(folder.path, `dray.${shell}`);

beforeAll(async () => {
  folder = await temporaryFolder();
  for (const shell of ["bash", "zsh", "fish"]) {
    const { out, exitCode } = await dray(["completions", shell]);
    expect(exitCode).toBe(0);
    await writeFile(script(shell), out);
  }
  await writeFile(join(folder.path, "setup.zsh"), ZSH_SETUP);
  await mkdir(join(folder.path, "profiles"));
  await writeFile(join(folder.path, "profile one.yaml"), "");
});

afterAll(async () => {
  await folder[Symbol.asyncDispose]();
});

async function shell(command: readonly string[]): Promise<string> {
  const env = { ...process.env, LC_ALL: "C.UTF-8", TERM: "dumb", HOME: folder.path };
  const child = Bun.spawn([...command], { cwd: folder.path, env, stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect({ err, exitCode: await child.exited }).toEqual({ err: "", exitCode: 0 });
  return out;
}

/** What bash would offer for the last word; bash makes words of its own of `=`. */
async function bash(...words: readonly string[]): Promise<readonly string[]> {
  const program = `
    source "$1"; shift
    complete -p dray >/dev/null
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _dray
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = await shell(["bash", "-c", program, "bash", script("bash"), "dray", ...words]);
  return out.trimEnd().split("\n").sort();
}

/** What fish would offer for a line, without the descriptions. */
async function fish(line: string): Promise<readonly string[]> {
  const program = "source $argv[1]; complete -C $argv[2]";
  const out = await shell(["fish", "--no-config", "-c", program, script("fish"), line]);
  const offered = out.split("\n").filter((each) => each !== "");
  return offered.map((each) => each.split("\t")[0] ?? "").sort();
}

/** What a terminal shows is echo and prompt too, so the line is told between signs that nobody typed. */
const ZSH_SETUP = `
PS1= PROMPT_EOL_MARK=
unset zle_bracketed_paste
stty -echo
autoload -U compinit
compinit -u -D
whole() { print -r -- "<$BUFFER>"; BUFFER=; zle accept-line }
zle -N whole
bindkey "^X" whole
print '<ready>'
`;

/** What stands on the line once zsh has completed it, in a terminal of its own. */
async function zsh(line: string): Promise<string> {
  const program = `
    zmodload zsh/zpty
    told() { while zpty -r z out; do [[ $out == *"<"*">"* ]] && break; done }
    zpty z zsh -f -i
    zpty -w z 'source setup.zsh; source dray.zsh'
    told
    zpty -n -w z "$1"$'\\t\\x18'
    told
    print -r -- "$out"
    zpty -d z`;
  const out = await shell(["zsh", "-f", "-c", program, "zsh", line]);
  return /<([^>]*)>/.exec(out)?.[1] ?? out;
}

const ABSENT = ["bash", "zsh", "fish"].filter((name) => Bun.which(name) === null);
test.skip.each(ABSENT)("%s is left out: it is not on this machine", () => undefined);

const COMMANDS = [
  ...["plan", "explain", "deliver", "credentials", "registry", "verify", "gc", "prove", "journal"],
  ...["status", "stage", "activate", "rollback", "pause", "resume", "doctor", "redirect"],
  ...["unpack", "export", "completions"],
];

describe.skipIf(ABSENT.includes("bash"))("bash", () => {
  test("completes commands, also those below a command", async () => {
    expect(await bash("")).toEqual(expect.arrayContaining(COMMANDS));
    expect(await bash("pl")).toEqual(["plan"]);
    expect(await bash("registry", "s")).toEqual(["serve"]);
  });

  test("completes the options of the command that is typed", async () => {
    expect(await bash("plan", "--es")).toEqual(["--estimate"]);
    expect(await bash("registry", "serve", "--es")).toEqual([""]);
    expect(await bash("status", "-o", "json", "--w")).toEqual(["--watch"]);
    expect(await bash("plan", "--docker-config", "--es")).toEqual(["--estimate"]);
  });

  test("completes what an option and an argument may be", async () => {
    expect(await bash("plan", "-o", "")).toEqual(["json", "text"]);
    expect(await bash("plan", "--output", "=", "j")).toEqual(["json"]);
    expect(await bash("plan", "--output", "=")).toEqual(["json", "text"]);
    expect(await bash("deliver", "--until", "p")).toEqual(["provider"]);
    expect(await bash("redirect", "")).toEqual(["containerd", "k3s", "rke2"]);
    expect(await bash("redirect", "--config-dir", "x", "k3")).toEqual(["k3s"]);
    expect(await bash("redirect", "k3s", "")).toEqual([""]);
  });

  test("completes files and folders by what is there", async () => {
    expect(await bash("plan", "-p", "prof")).toEqual(["profile one.yaml", "profiles"]);
    expect(await bash("deliver", "-d", "prof")).toEqual(["profiles"]);
    expect(await bash("plan", "--docker-config", "profile")).toEqual([
      "profile one.yaml",
      "profiles",
    ]);
    expect(await bash("plan", "--rate", "prof")).toEqual([""]);
  });
});

describe.skipIf(ABSENT.includes("fish"))("fish", () => {
  test("completes commands and options, each with what it is for", async () => {
    expect(await fish("dray ")).toEqual(expect.arrayContaining(COMMANDS));
    expect(await fish("dray registry s")).toEqual(["serve"]);
    expect(await fish("dray plan --es")).toEqual(["--estimate"]);
    expect(await fish("dray registry serve --es")).toEqual([]);
  });

  test("completes values, files and folders", async () => {
    expect(await fish("dray plan -o ")).toEqual(["json", "text"]);
    expect(await fish("dray plan --output=j")).toEqual(["--output=json"]);
    expect(await fish("dray redirect k")).toEqual(["k3s"]);
    expect(await fish("dray plan -p prof")).toEqual(["profile one.yaml", "profiles/"]);
    expect(await fish("dray deliver -d prof")).toEqual(["profiles/"]);
    expect(await fish("dray plan --rate prof")).toEqual([]);
  });
});

describe.skipIf(ABSENT.includes("zsh"))("zsh", () => {
  test("completes commands, options, values and files on a line of its own", async () => {
    expect(await zsh("dray pl")).toBe("dray plan ");
    expect(await zsh("dray registry s")).toBe("dray registry serve ");
    expect(await zsh("dray plan --esti")).toBe("dray plan --estimate ");
    expect(await zsh("dray plan -o j")).toBe("dray plan -o json ");
    expect(await zsh("dray plan --output=j")).toBe("dray plan --output=json ");
    expect(await zsh("dray redirect k")).toBe("dray redirect k3s ");
    expect(await zsh("dray deliver -d prof")).toBe("dray deliver -d profiles/");
    expect(await zsh("dray registry serve --esti")).toBe("dray registry serve --esti");
  });
});

test("a shell that is not known is refused, with those that are", async () => {
  const { err, exitCode } = await dray(["completions", "tcsh"]);
  expect(exitCode).toBe(2);
  expect(err).toContain("bash, zsh, fish");
});
