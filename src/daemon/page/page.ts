import { createHash } from "node:crypto";
import actions from "./actions.js" with { type: "text" };
import api from "./api.js" with { type: "text" };
import delivery from "./delivery.js" with { type: "text" };
import dom from "./dom.js" with { type: "text" };
import drawer from "./drawer.js" with { type: "text" };
import firstFrame from "./first-frame.js" with { type: "text" };
import { type FirstWords, withFirstWords } from "./first-words.ts";
import flow from "./flow.js" with { type: "text" };
import flowGraph from "./flow-graph.js" with { type: "text" };
import format from "./format.js" with { type: "text" };
import icon from "./icon.svg" with { type: "text" };
import imageStatus from "./image-status.js" with { type: "text" };
import images from "./images.js" with { type: "text" };
import html from "./index.html" with { type: "text" };
import journal from "./journal.js" with { type: "text" };
import login from "./login.js" with { type: "text" };
import main from "./main.js" with { type: "text" };
import { oneScript } from "./one-script.ts";
import panels from "./panels.js" with { type: "text" };
import rowWindow from "./row-window.js" with { type: "text" };
import style from "./style.css" with { type: "text" };
import theme from "./theme.js" with { type: "text" };
import uplink from "./uplink.js" with { type: "text" };
import verdict from "./verdict.js" with { type: "text" };

/** One file of the status page, as it is served. */
export interface PageAsset {
  /** `/`, `/page-6QpX….js`. */
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** A strong one, with its quotes: the hash of the body. */
  readonly etag: string;
  /** How long a browser may keep it: for good where the path has the hash of it. */
  readonly cacheControl: string;
  /** The same with a state in it, for who may read that; of the page itself alone. */
  readonly telling?: (words: FirstWords) => PageAsset;
}

const MODULES: Readonly<Record<string, string>> = {
  ...{ actions, api, delivery, dom, drawer, flow, format, images, journal, login, main, panels },
  ...{ uplink, verdict },
  ...{ "flow-graph": flowGraph, "image-status": imageStatus, "row-window": rowWindow },
};

const COMMENT_LINES = /^[ \t]*\/\*(?:(?!\*\/)[\s\S])*\*\/\n/gm;

/** Comments that fill whole lines are left out: a fifth of all bytes, which no tablet on a site needs. */
const withoutComments = (text: string) => text.replace(COMMENT_LINES, "");

/** Chooses the colours. It is in the page itself: before it has run, nothing can be painted. */
const FIRST_SCRIPT: string = withoutComments(theme).trim();

/**
 * The policy that the page is served with. Of what is inline only the one script runs that has this hash,
 * and the page asks nobody but its own agent: what it is made to show can load, run and send nothing.
 */
export const PAGE_POLICY: string = [
  "default-src 'none'",
  `script-src 'self' 'sha256-${createHash("sha256").update(FIRST_SCRIPT).digest("base64")}'`,
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

/**
 * The files of the status page. They lie in the executable as texts, and there is no build step: the modules
 * are joined here to one script, which a browser can read as they were written.
 *
 * Script and style have the hash of their bytes in their names, so that a browser asks for them once; the
 * page names them, and is asked for anew each time.
 */
export function pageAssets(): readonly PageAsset[] {
  const modules = Object.entries(MODULES).map(([name, text]) => [name, withoutComments(text)]);
  const script = `${withoutComments(firstFrame)}\n${oneScript(Object.fromEntries(modules), "main")}`;
  const lasting = [
    lastingAsset("/page.js", "text/javascript; charset=utf-8", script),
    lastingAsset("/style.css", "text/css; charset=utf-8", withoutComments(style)),
    lastingAsset("/icon.svg", "image/svg+xml", icon),
  ];
  let page = String(html).replace(
    '<script src="/theme.js"></script>',
    () => `<script>${FIRST_SCRIPT}</script>`,
  );
  for (const { source, path } of lasting) page = page.replaceAll(`"${source}"`, `"${path}"`);
  const bare = asset("/", HTML, page, "no-cache");
  const telling = (words: FirstWords) => asset("/", HTML, withFirstWords(page, words), "no-store");
  return [{ ...bare, telling }, ...lasting];
}

const HTML = "text/html; charset=utf-8";

function lastingAsset(source: string, contentType: string, text: string) {
  const made = asset(source, contentType, text, "public, max-age=31536000, immutable");
  return { ...made, source, path: source.replace(".", `-${made.etag.slice(1, -1)}.`) };
}

function asset(path: string, contentType: string, text: string, cacheControl: string): PageAsset {
  const body = new TextEncoder().encode(text);
  const hash = createHash("sha256").update(body).digest("base64url");
  return { path, contentType, body, etag: `"${hash.slice(0, 22)}"`, cacheControl };
}
