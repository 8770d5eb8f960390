import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import manifest from "../package.json" with { type: "json" };

/**
 * Which room of `src/` may import which, in the order of dependency: a row names only rooms above
 * it. This table is the architecture; a room without a row fails the test.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  link: ["base"],
  oci: ["base"],
  reference: ["base", "oci"],
  credential: ["base", "oci", "reference"],
  profile: ["base", "link", "oci", "reference", "credential"],
  plan: ["base", "oci", "reference", "credential", "profile"],
  content: ["base", "oci", "reference"],
  steering: ["base", "oci", "reference", "profile", "content"],
  store: ["base", "link", "oci", "reference", "content"],
  registry: ["base", "oci", "reference", "content"],
  remote: ["base", "oci", "reference", "credential", "content"],
  keychain: ["base", "credential"],
  harbor: ["base", "credential"],
  archive: ["base", "oci", "content"],
  redirect: ["base", "reference", "credential", "plan"],
  runtime: ["base", "oci", "reference", "credential", "content", "redirect"],
  prove: ["base", "oci", "reference", "plan", "content", "redirect"],
  deliver: ["base", "oci", "reference", "credential", "plan", "content"],
  daemon: [
    ...["base", "link", "oci", "reference", "credential", "profile", "plan", "content"],
    ...["steering", "store", "registry", "remote", "keychain", "harbor"],
    ...["archive", "redirect", "runtime", "prove", "deliver"],
  ],
  site: [
    ...["base", "link", "oci", "reference", "credential", "profile", "plan", "content"],
    ...["steering", "store", "registry", "remote", "keychain", "harbor"],
    ...["archive", "redirect", "runtime", "prove", "deliver", "daemon"],
  ],
  cli: [
    ...["base", "link", "oci", "reference", "credential", "profile", "plan", "content"],
    ...["steering", "store", "registry", "remote", "keychain", "harbor"],
    ...["archive", "redirect", "runtime", "prove", "deliver", "daemon", "site"],
  ],
};

/** Rooms that drive one thing of the world each, and meet only where the program is wired. */
const ADAPTERS = ["store", "registry", "remote", "keychain", "harbor", "archive", "runtime"];

/** Rooms whose answers depend on nothing but their arguments. */
const PURE = ["link", "oci", "reference", "credential", "profile", "plan", "redirect"];

/** Rooms that may call Bun's own API; elsewhere `node:` and the web's serve as well. */
const MAY_USE_BUN = ["store", "registry", "remote", "archive", "daemon"];

/** What only tests may import beside the rooms. */
const TEST_ONLY = /^(#test-support\/.+|#content\/conformance|bun:test|fast-check)$/;

const ROOT = join(import.meta.dir, "..");

interface SourceFile {
  /** Relative to `src/`: `oci/digest.ts`. */
  readonly path: string;
  readonly text: string;
}

/** The first folder of the path, or undefined for `main.ts`, which may import everything. */
function roomOf(path: string): string | undefined {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : undefined;
}

/** Tests, and the suites that tests of several rooms share. */
function isTest(path: string): boolean {
  return path.endsWith(".test.ts") || path.startsWith("content/conformance/");
}

const COMMENT_OR_STRING =
  /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;

/** The code with comments taken out, so that prose about a rule does not break it. */
function withoutComments(text: string): string {
  return text.replace(COMMENT_OR_STRING, (match) => (match.startsWith("/") ? "" : match));
}

/** The code with comments and plain strings taken out; templates stay, for they hold code. */
function codeOnly(text: string): string {
  return text.replace(COMMENT_OR_STRING, (match) => (match.startsWith("`") ? match : '""'));
}

const IMPORT =
  /^(?:import|export)\s+(?:type\s+)?(?:[\w$*{},\s]+?\s+from\s+)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/gm;

/** Everything that a file imports or re-exports, types too. `Bun.Transpiler` would drop those. */
function importsOf(text: string): string[] {
  return [...withoutComments(text).matchAll(IMPORT)].map(([, from, call]) => from ?? call ?? "");
}

const RULES: Readonly<Record<string, (file: SourceFile) => readonly string[]>> = {
  "rooms import each other by their front doors, and one way": (file) =>
    importsOf(file.text).flatMap((specifier) => judgeImport(file.path, specifier)),

  "pure rooms touch no clock, disk, network, chance or runtime": ({ path, text }) => {
    if (!PURE.includes(roomOf(path) ?? "") || isTest(path)) return [];
    const outside =
      /(?<![.\w])(?:Bun\b|fetch\s*\(|Date\.now|Temporal\.Now|new Date\(\)|Math\.random|process\b(?=[.[])|performance\b|crypto\b|setTimeout|setInterval)/g;
    return [
      ...importsOf(text).filter((specifier) => /^(node|bun):|^bun$/.test(specifier)),
      ...(codeOnly(text).match(outside) ?? []),
    ];
  },

  "Bun's own API stays where it is needed": ({ path, text }) => {
    const room = roomOf(path);
    if (room === undefined || isTest(path) || MAY_USE_BUN.includes(room)) return [];
    return [
      ...importsOf(text).filter((specifier) => /^bun(:|$)/.test(specifier)),
      ...(codeOnly(text).match(/(?<![.\w])Bun\b/g) ?? []),
    ];
  },

  "only the command line prints and ends the program": ({ path, text }) => {
    const room = roomOf(path);
    if (room === undefined || room === "cli" || isTest(path)) return [];
    const speaks = /(?<![.\w])console\b|\bprocess\.(?:exit(?:Code)?|stdout|stderr|stdin|argv)\b/g;
    return codeOnly(text).match(speaks) ?? [];
  },

  "every export says what it is for": ({ path, text }) =>
    isTest(path) || path.endsWith("/mod.ts") ? [] : undocumentedExports(text),

  "every front door says what its room is": ({ path, text }) =>
    path.endsWith("/mod.ts") && !text.startsWith("/**\n") ? ["no docstring at the top"] : [],

  "the program knows nothing of its tests": ({ path, text }) =>
    isTest(path) ? [] : (withoutComments(text).match(/["'`][./]*test\/[^"'`]*/g) ?? []),

  "file names say what is inside": ({ path }) =>
    /(^|\/)(utils?|helpers?|types|index|misc|common)\.ts$/.test(path) ? ["says nothing"] : [],
};

function judgeImport(path: string, specifier: string): string[] {
  const room = roomOf(path);
  if (/^(node|bun):|^bun$/.test(specifier) && specifier !== "bun:test") return [];
  if (specifier.startsWith("./")) return [];
  if (specifier.startsWith("../")) {
    const stays = room !== undefined && join(dirname(path), specifier).startsWith(`${room}/`);
    return stays ? [] : [`"${specifier}" leaves the room by a window`];
  }
  if (TEST_ONLY.test(specifier)) return isTest(path) ? [] : [`"${specifier}" is for tests`];
  if (!specifier.startsWith("#")) {
    const isDependency = Object.keys(manifest.dependencies).includes(specifier);
    return isDependency ? [] : [`"${specifier}" is no dependency of the program`];
  }
  const target = specifier.slice(1);
  if (target === room && isTest(path)) return [];
  const allowed = room === undefined ? Object.keys(MAY_IMPORT) : MAY_IMPORT[room];
  return allowed?.includes(target) ? [] : [`${room ?? path} may not import "${specifier}"`];
}

/** Exports of a file without a docstring. One docstring may stand over a run of constants. */
function undocumentedExports(text: string): string[] {
  const lines = text.split("\n");
  const declaration =
    /^export (?:declare |abstract |async )*(?:function\*?|class|interface|const|type) (?!\{)/;
  const isDocumented = (i: number): boolean => {
    const before = lines[i - 1] ?? "";
    if (/^export const /.test(lines[i] ?? "") && /^export const .*;$/.test(before)) {
      return isDocumented(i - 1);
    }
    return before.endsWith("*/") || isOverload(lines, i);
  };
  return lines.flatMap((line, i) => (declaration.test(line) && !isDocumented(i) ? [line] : []));
}

/** A further signature of the function above it. */
function isOverload(lines: readonly string[], i: number): boolean {
  const name = /^export function (\w+)/.exec(lines[i] ?? "")?.[1];
  const before = lines[i - 1] ?? "";
  return name !== undefined && before.startsWith(`export function ${name}`) && before.endsWith(";");
}

function sourceFiles(): SourceFile[] {
  const paths = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" });
  return paths
    .filter((path) => path.endsWith(".ts"))
    .sort()
    .map((path) => ({ path, text: readFileSync(join(ROOT, "src", path), "utf8") }));
}

/** Folders of `src/` that have something in them. */
function rooms(): string[] {
  return readdirSync(join(ROOT, "src")).filter((name) => {
    const path = join(ROOT, "src", name);
    return statSync(path).isDirectory() && readdirSync(path).length > 0;
  });
}

describe("the tree", () => {
  const files = sourceFiles();

  for (const [rule, judge] of Object.entries(RULES)) {
    test(rule, () => {
      const problems = files.flatMap((file) =>
        judge(file).map((problem) => `src/${file.path}: ${problem.trim()}`),
      );
      expect(problems).toEqual([]);
    });
  }

  test("every room has its row and its front door", () => {
    const homeless = rooms().filter((room) => MAY_IMPORT[room] === undefined);
    const doorless = rooms().filter((room) => !existsSync(join(ROOT, "src", room, "mod.ts")));
    expect({ homeless, doorless }).toEqual({ homeless: [], doorless: [] });
  });

  test("ARCHITECTURE.md tells the rooms that there are, and what each may import", () => {
    const text = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8");
    const rows = [...text.matchAll(/^\| `([a-z-]+)` \|.*\| ([^|]+) \|$/gm)];
    const told = rows.map(([, room = "", imports = ""]) => [room, importsTold(room, imports)]);
    expect(Object.fromEntries(told)).toEqual(MAY_IMPORT);
    expect(rooms().sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });

  test("ARCHITECTURE.md names files that there are", () => {
    const lines = readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8").split("\n");
    const named = lines.flatMap(filesNamed);
    expect(named.length).toBeGreaterThan(100);
    const isThere = (path: string) =>
      existsSync(join(ROOT, "src", path)) || existsSync(join(ROOT, path));
    expect(named.filter((path) => !isThere(path))).toEqual([]);
  });
});

/** Files of a line; one without a folder lies in the folder that was named before it. */
function filesNamed(line: string): readonly string[] {
  let folder = "";
  return [...line.matchAll(/`([\w./-]+(?:\.ts|\/))`/g)].flatMap(([, path = ""]) => {
    if (path.includes("/")) folder = path.endsWith("/") ? path : dirname(path);
    // A front door is spoken of, of no room in particular.
    if (path.endsWith("/") || path === "mod.ts") return [];
    return [path.includes("/") ? path : join(folder, path)];
  });
}

/** The last column of a row: names, a dash for none, or a word for all of the rows above. */
function importsTold(room: string, cell: string): readonly string[] {
  if (cell === "—") return [];
  if (cell !== "all of these" && cell !== "all above") return cell.split(", ");
  const rows = Object.keys(MAY_IMPORT);
  return rows.slice(0, rows.indexOf(room));
}

describe("the table", () => {
  test("has no cycle: a row names only rooms above it", () => {
    const order = Object.keys(MAY_IMPORT);
    for (const [room, allowed] of Object.entries(MAY_IMPORT)) {
      expect(allowed.filter((other) => order.indexOf(other) >= order.indexOf(room))).toEqual([]);
    }
  });

  test("keeps adapters apart, and pure rooms from all that is not pure", () => {
    for (const adapter of ADAPTERS) {
      expect(MAY_IMPORT[adapter]?.filter((other) => ADAPTERS.includes(other))).toEqual([]);
    }
    for (const room of PURE) {
      expect(
        MAY_IMPORT[room]?.filter((other) => other !== "base" && !PURE.includes(other)),
      ).toEqual([]);
    }
  });
});

describe("the rules see what they forbid", () => {
  const doc = "/** What it is for. */\n";
  const planted: readonly (readonly [rule: number, path: string, text: string, found: number])[] = [
    [0, "base/a.ts", 'import { b } from "./b.ts";', 0],
    [0, "base/a.ts", 'import type { Plan } from "#plan";', 1],
    [0, "base/a.ts", 'export { type Plan,\n  b } from "#plan";', 1],
    [0, "base/a.ts", 'const plan = await import("#plan");', 1],
    [0, "base/a.ts", 'import "../oci/digest.ts";', 1],
    [0, "daemon/server/a.ts", 'import type { AgentControl } from "../control.ts";', 0],
    [0, "daemon/server/a.ts", 'import { a } from "../../daemonic/a.ts";', 1],
    [0, "base/a.ts", '// import { a } from "#plan";', 0],
    [0, "plan/a.ts", 'import * as profile from "#profile";', 0],
    [0, "plan/a.ts", 'import { x } from "#profile/wanted.ts";', 1],
    [0, "plan/a.ts", 'import { x } from "zod";', 1],
    [0, "profile/a.ts", 'import { parse } from "yaml";', 0],
    [0, "store/a.ts", 'import { x } from "#remote";', 1],
    [0, "store/a.ts", 'import { x } from "#test-support/certificates";', 1],
    [0, "store/a.ts", 'import { openStore } from "#store";', 1],
    [0, "store/a.test.ts", 'import { openStore } from "#store";', 0],
    [0, "store/a.test.ts", 'import { openRemote } from "#remote";', 1],
    [0, "store/a.test.ts", 'import { x } from "#test-support/certificates";', 0],
    [0, "cellar/a.ts", 'import { x } from "#base";', 1],
    [0, "main.ts", 'import { x } from "#cli";', 0],
    [1, "plan/a.ts", 'import { join } from "node:path";', 1],
    [1, "plan/a.ts", "const now = Date.now();", 1],
    [
      1,
      "plan/a.ts",
      "await fetch(url); Bun.hash(x); Math.random(); process.env; performance.now();",
      5,
    ],
    [1, "plan/a.ts", '// fetch(url)\nconst x = "fetch(url)"; store.fetch(url);', 0],
    [1, "plan/a.ts", `const x = \`at \${Date.now()}\`;`, 1],
    [1, "plan/a.test.ts", 'import { readFileSync } from "node:fs";', 0],
    [1, "store/a.ts", "const now = Date.now();", 0],
    [2, "deliver/a.ts", 'import { Database } from "bun:sqlite"; Bun.gc();', 2],
    [2, "store/a.ts", 'import { Database } from "bun:sqlite";', 0],
    [3, "store/a.ts", "console.log(1); process.exit(1); process.stderr.write(x);", 3],
    [3, "cli/a.ts", "console.log(1);", 0],
    [4, "oci/a.ts", "export function a() {}\n\nexport const b = 1;\nexport type C = 1;", 3],
    [4, "oci/a.ts", `${doc}export const a = 1;\nexport const b = 2;\n\n${doc}export class C {}`, 0],
    [4, "oci/a.ts", 'export type { A } from "./b.ts";', 0],
    [4, "oci/a.ts", `${doc}export function a(x: 1): 1;\nexport function a(x: 2): 2;`, 0],
    [5, "oci/mod.ts", 'export { a } from "./a.ts";', 1],
    [6, "oci/a.ts", 'const x = "test/fixtures/a"; const y = "../test/a";', 2],
    [6, "oci/a.ts", 'const x = "latest/a";', 0],
    [7, "oci/utils.ts", "", 1],
    [7, "oci/digest.ts", "", 0],
  ];

  test.each(planted)("rule %i on %s: %j", (rule, path, text, found) => {
    expect(Object.values(RULES)[rule]?.({ path, text })).toHaveLength(found);
  });
});
