import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { siteState } from "#test-support/page-states";
import { PAGE_POLICY, type PageAsset, pageAssets } from "./page.ts";

const assets = pageAssets();
const textOf = (path: string) => new TextDecoder().decode(bodyOf(path));

function bodyOf(path: string): PageAsset["body"] {
  const asset = assets.find((one) => one.path === path);
  if (asset === undefined) throw new Error(`${path} is not served`);
  return asset.body;
}

const SCRIPT = assets.find(({ path }) => path.endsWith(".js"))?.path ?? "";

test("the page is one of four files, and all but the page itself may be kept for good", () => {
  expect(assets.map(({ path }) => path.replace(/-[\w-]{22}\./, "."))).toEqual([
    ...["/", "/page.js", "/style.css", "/icon.svg"],
  ]);
  for (const { path, etag, contentType, cacheControl } of assets) {
    expect(etag).toMatch(/^"[\w-]{22}"$/);
    expect([path, contentType]).toEqual([path, expect.stringMatching(typeOf(path))]);
    const isNamedByHash = path.includes(etag.slice(1, -1));
    expect([path, isNamedByHash, cacheControl]).toEqual(
      path === "/"
        ? [path, false, "no-cache"]
        : [path, true, "public, max-age=31536000, immutable"],
    );
  }
});

test("every script of the folder is in what is served", () => {
  const served = [...textOf(SCRIPT).matchAll(/^\/\/ ([\w-]+\.js)$/gm)].map(
    ([, name]) => name ?? "",
  );
  const files = readdirSync(import.meta.dir).filter((name) => name.endsWith(".js"));
  expect([...served, "first-frame.js", "theme.js"].sort()).toEqual(files.sort());
  expect(textOf(SCRIPT)).toStartWith("if (!document.hidden) {\n  await ");
});

function typeOf(path: string): RegExp {
  if (path.endsWith(".js")) return /^text\/javascript; charset=utf-8$/;
  if (path.endsWith(".css")) return /^text\/css; charset=utf-8$/;
  return path === "/" ? /^text\/html; charset=utf-8$/ : /^image\/svg\+xml$/;
}

// Each request more costs a tablet whose CPU is slowed six times 15 to 30 ms before it paints anything.
test("the page loads a style and a script, and a style keeps no script waiting that paints wait for", () => {
  const html = textOf("/");
  const loaded = [...html.matchAll(/<(?!a )[^>]*(?:src|href)="(\/[^"#]*)"/g)].map(
    ([, path]) => path,
  );
  expect(loaded.map((path) => path?.replace(/-[\w-]{22}\./, "."))).toEqual([
    ...["/icon.svg", "/style.css", "/page.js"],
  ]);
  for (const path of loaded) expect(assets.map((one) => one.path)).toContain(path ?? "");
  expect(html.indexOf("<script>")).toBeLessThan(html.indexOf('rel="stylesheet"'));
});

test("all of the page is under 100 kB, for slow tablets", () => {
  expect(assets.reduce((sum, { body }) => sum + body.length, 0)).toBeLessThan(100_000);
});

test("comments that fill whole lines stay behind, types within a line don't hurt the code", () => {
  const source = textOf(SCRIPT);
  expect(source).not.toMatch(/^\s*\/\*\*\n/m);
  expect(source).toContain("function h(");
  expect(() => new Bun.Transpiler({ loader: "js" }).transformSync(source)).not.toThrow();
});

test("one script alone is inline, by its hash, nothing comes from elsewhere, no text is made markup", () => {
  const html = textOf("/");
  expect(html).not.toMatch(/ style=| on\w+=|<style|https?:/);
  const inline = [...html.matchAll(/<script>([^<]*)<\/script>/g)].map(([, text]) => text ?? "");
  const hashes = inline.map((text) => new Bun.CryptoHasher("sha256").update(text).digest("base64"));
  expect(hashes).toHaveLength(1);
  expect(PAGE_POLICY).toContain(`script-src 'self' 'sha256-${hashes[0]}';`);
  const markup =
    /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc/;
  expect(markup.exec(textOf(SCRIPT))).toBeNull();
  expect(PAGE_POLICY).toContain("default-src 'none'");
  expect(PAGE_POLICY).not.toMatch(/unsafe|https?:|\*/);
});

test("with a state the page is another one that nobody keeps, and loads the same", () => {
  const [page] = assets;
  const told = page?.telling?.({ state: siteState(), me: { user: null } });
  const text = new TextDecoder().decode(told?.body);
  expect(text).toContain(siteState().verdict.sentence);
  expect(text).toContain(SCRIPT);
  expect(told?.cacheControl).toBe("no-store");
  expect(told?.etag).not.toBe(page?.etag);
});
