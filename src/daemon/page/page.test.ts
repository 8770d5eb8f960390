import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { PAGE_POLICY, type PageAsset, pageAssets } from "./page.ts";

const assets = pageAssets();
const textOf = (path: string) => new TextDecoder().decode(bodyOf(path));

function bodyOf(path: string): PageAsset["body"] {
  const asset = assets.find((one) => one.path === path);
  if (asset === undefined) throw new Error(`${path} is not served`);
  return asset.body;
}

test("every file of the page that a browser reads is served, with its type and a hash of its bytes", () => {
  const files = readdirSync(import.meta.dir).filter((name) => /\.(js|css|svg)$/.test(name));
  expect(assets.map(({ path }) => path).sort()).toEqual(
    ["/", ...files.map((name) => `/${name}`)].sort(),
  );
  expect(new Set(assets.map(({ etag }) => etag)).size).toBe(assets.length);
  for (const { path, etag, contentType } of assets) {
    expect(etag).toMatch(/^"[\w-]{22}"$/);
    expect([path, contentType]).toEqual([path, expect.stringMatching(typeOf(path))]);
  }
});

function typeOf(path: string): RegExp {
  if (path.endsWith(".js")) return /^text\/javascript; charset=utf-8$/;
  if (path.endsWith(".css")) return /^text\/css; charset=utf-8$/;
  return path === "/" ? /^text\/html; charset=utf-8$/ : /^image\/svg\+xml$/;
}

test("what the page loads is among its files", () => {
  const loaded = [...textOf("/").matchAll(/(?:src|href)="(\/[^"#]*)"/g)].map(([, path]) => path);
  const imported = assets
    .filter(({ path }) => path.endsWith(".js"))
    .flatMap(({ path }) => [...textOf(path).matchAll(/from "\.(\/[\w-]+\.js)"/g)])
    .map(([, path]) => path);
  expect(loaded).toContain("/main.js");
  expect(imported).toContain("/dom.js");
  for (const path of [...loaded, ...imported])
    expect(assets.map((one) => one.path)).toContain(path ?? "");
});

// Without it a browser finds out which modules there are by loading one after the other: three round trips.
test("every module that main.js leads to is announced in the page itself", () => {
  const announced = [...textOf("/").matchAll(/rel="modulepreload" href="([^"]*)"/g)].map(
    ([, path]) => path,
  );
  const led = assets
    .map(({ path }) => path)
    .filter((path) => path.endsWith(".js") && path !== "/main.js" && path !== "/theme.js");
  expect(announced.sort()).toEqual(led.sort());
});

test("all of the page is under 100 kB, for slow tablets", () => {
  expect(assets.reduce((sum, { body }) => sum + body.length, 0)).toBeLessThan(100_000);
});

test("comments that fill whole lines stay behind, types within a line don't hurt the code", () => {
  const source = textOf("/dom.js");
  expect(source).not.toMatch(/^\s*\/\*\*\n/m);
  expect(source).toContain("export function h(");
  for (const { path } of assets.filter((one) => one.path.endsWith(".js"))) {
    expect(() => new Bun.Transpiler({ loader: "js" }).scan(textOf(path))).not.toThrow();
  }
});

test("nothing is inline, nothing comes from elsewhere, and no text is made markup", () => {
  const html = textOf("/");
  expect(html).not.toMatch(/ style=| on\w+=|<style|<script>|https?:/);
  for (const { path } of assets.filter((one) => one.path.endsWith(".js"))) {
    const markup =
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc/;
    expect([path, markup.exec(textOf(path))]).toEqual([path, null]);
  }
  expect(PAGE_POLICY).toContain("default-src 'none'");
  expect(PAGE_POLICY).not.toMatch(/unsafe|https?:|\*/);
});
