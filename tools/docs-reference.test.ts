import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Findings } from "#base";
import { DEFAULT_AGENT_SETTINGS } from "#daemon";
import { readClusterInputs } from "#profile";
import { createMemoryFiles } from "#test-support/memory-files";
import { CONFIGURATION, configurationPage } from "./docs-reference.ts";
import { codesOf, failureCodes } from "./failure-codes.ts";
import { SITE_SECTIONS, type SiteSection } from "./site-reference.ts";
import { ROOT } from "./step.ts";

const PEM = readFileSync(join(ROOT, "test/fixtures/tls/ca.pem"), "utf8");
const DOCS = join(ROOT, "docs");

/** What the program makes of a site file; of findings, those that are in it. */
function read(text: string) {
  const findings = new Findings();
  const contents = { "site.yaml": text, password: "secret\n", "ca.pem": PEM };
  const names = { profiles: ["absent.yaml"], site: "site.yaml" };
  const { site } = readClusterInputs(names, createMemoryFiles(contents), findings);
  const inFile = ({ file }: { file: string }) => file === "site.yaml";
  return {
    site,
    faults: findings.faults.filter(inFile),
    warnings: findings.warnings.filter(inFile),
  };
}

/** A site file with these keys of one section: `link.windows[]` is a list of one. */
function fileWith(path: string, keys: Readonly<Record<string, string>>): string {
  const mapping = `{${Object.entries(keys)
    .map(([key, value]) => `${key}: ${value}`)
    .join(", ")}}`;
  if (path === "") return mapping;
  return path.split(".").reduceRight((inner, step) => {
    const name = step.replace("[]", "");
    return `{${name}: ${step.endsWith("[]") ? `[${inner}]` : inner}}`;
  }, mapping);
}

/** The keys that the program takes in a section: it names them when it meets a strange one. */
function keysTaken({ path, needs }: SiteSection): readonly string[] {
  const strange = "zzzzzzzzzzzzzzzzzzzzzzzzzzzz";
  const { faults } = read(fileWith(path, { ...needs, [strange]: "1" }));
  const remedy = faults.find(
    ({ code, message }) => code === "key-unknown" && message.includes(strange),
  )?.remedy;
  return remedy?.replace("Known keys are ", "").split(", ") ?? [];
}

describe("docs/configuration.md", () => {
  test("is what the generator makes; run `bun tools/docs-reference.ts`", () => {
    expect(readFileSync(CONFIGURATION, "utf8")).toBe(configurationPage());
  });

  test.each(SITE_SECTIONS.map((section) => [section.path || "the file", section] as const))(
    "names the keys that the program takes in %s, and no others",
    (_, section) => {
      const named = section.keys.map(({ name }) => name);
      expect(named.toSorted()).toEqual(keysTaken(section).toSorted());
    },
  );

  const keys = SITE_SECTIONS.flatMap((section) =>
    section.keys.map((key) => [`${section.path}.${key.name}`, section, key] as const),
  );

  test.each(keys)(
    "the program takes the example of %s",
    (_, { path, needs }, { name, example }) => {
      expect(read(fileWith(path, { ...needs, [name]: example })).faults).toEqual([]);
    },
  );

  const times = ["poll", "resync", "credentials", "prove", "verify", "collect"];
  const literal = keys.filter(
    ([, { path }, { name, otherwise }]) =>
      !otherwise.startsWith("(") && !(path === "agent" && times.includes(name)),
  );

  test.each(literal)("what is said to be the default of %s changes nothing", (_, section, key) => {
    const { [key.name]: _given, ...others } = section.needs;
    const isNone = section.path === "provider.handOver" && key.name === "form";
    const without = isNone ? {} : others;
    const given = read(fileWith(section.path, { ...without, [key.name]: key.otherwise }));
    expect(given.faults).toEqual([]);
    expect(withoutPlaces(given.site)).toEqual(
      withoutPlaces(read(fileWith(section.path, without)).site),
    );
  });

  test("the agent's times are those of its settings", () => {
    const agent = SITE_SECTIONS.find(({ path }) => path === "agent");
    const said = (name: string) => agent?.keys.find((key) => key.name === name)?.otherwise ?? "";
    const settings = Object.entries(DEFAULT_AGENT_SETTINGS).filter(([name]) => name.endsWith("Ms"));
    expect(settings.length).toBeGreaterThan(3);
    for (const [name, ms] of settings) {
      const site = read(`agent: {poll: ${said(name.replace("Ms", ""))}}`).site;
      expect([name, site.agent.pollMs]).toEqual([name, ms]);
    }
  });

  test("the example that is installed is read without a finding", () => {
    const example = readFileSync(join(ROOT, "deploy/site.example.yaml"), "utf8");
    const { site, faults, warnings } = read(example);
    expect({ faults, warnings }).toEqual({ faults: [], warnings: [] });
    expect(withoutPlaces(site)).toEqual(withoutPlaces({ ...read("{}").site, runtime: "none" }));
    // With what is commented out, too.
    const all = example.replaceAll(/^# ?(?=(?: {2})?(?: *- registry| +\w+:|userData))/gm, "");
    const uncommented = read(
      all
        .replace("credentials: []", "credentials:")
        .replace("link: {}", "link:")
        .replaceAll(/team-(password|ca\.pem)/g, "$1"),
    );
    expect(uncommented.faults).toEqual([]);
    expect(uncommented.site.credentials).toHaveLength(1);
    expect(uncommented.site.link.quota).toBeDefined();
  });
});

/** Lines and columns differ where the text does. */
function withoutPlaces(value: object): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, each) => (/^place$|At$/.test(key) ? undefined : each)),
  );
}

describe("docs/failures.md", () => {
  const page = readFileSync(join(DOCS, "failures.md"), "utf8");
  const told = [...page.matchAll(/^\| `([a-z0-9-]+)` \| (.+) \| (.+) \|$/gm)].map(
    ([, code]) => code,
  );

  test("tells of every code in the source, once", () => {
    const codes = failureCodes().map(({ code }) => code);
    expect(codes.filter((code) => !told.includes(code))).toEqual([]);
    expect(told.filter((code, i) => told.indexOf(code) !== i)).toEqual([]);
  });

  test("tells of no code that the source does not have", () => {
    const codes = failureCodes().map(({ code }) => code);
    expect(told.filter((code) => code !== undefined && !codes.includes(code))).toEqual([]);
  });
});

describe("codesOf()", () => {
  test.each([
    ['throw new Failure({ code: "disk-full", message: "x-y" });', ["disk-full"]],
    ['code: isOld ? "too-old" : "too-new",\n hint: "no-code"', ["too-old", "too-new"]],
    ['findings.fault(at(1, 2), "key-odd", "a-b");', ["key-odd"]],
    ['const WAITS = "disk-waits";\nf({ code: WAITS });', ["disk-waits"]],
    ['function no(verb: string, code: string) {}\nno("x-y", "disk-gone");', ["disk-gone"]],
    ['const no = (code: string) => 1;\nno("disk-off");', ["disk-off"]],
    ['if (code === "not-mine") {}', []],
    [
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a template in the text
      "findings.fault(place, `link-${what}-invalid`, 1);",
      ["link-rate-invalid", "link-size-invalid"],
    ],
  ])("%s", (text, codes) => {
    expect(codesOf(text)).toEqual(codes);
  });
});

describe("the documents", () => {
  const pages = readdirSync(DOCS, { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(".md"),
  );

  test.each(pages)("docs/%s links to what is there", (name) => {
    const page = readFileSync(join(DOCS, name), "utf8");
    const links = [...page.matchAll(/\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g)].map(
      ([, path = ""]) => path,
    );
    const broken = links.filter((path) => {
      const target = join(DOCS, dirname(name), path);
      return !Bun.file(target).size && !readdirIsThere(target);
    });
    expect(broken).toEqual([]);
  });

  test("docs/README.md leads to every page", () => {
    const index = readFileSync(join(DOCS, "README.md"), "utf8");
    expect(pages.filter((name) => name !== "README.md" && !index.includes(`(${name})`))).toEqual(
      [],
    );
  });
});

function readdirIsThere(path: string): boolean {
  try {
    return readdirSync(path).length > 0;
  } catch {
    return false;
  }
}
