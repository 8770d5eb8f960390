import { createHash } from "node:crypto";
import actions from "./actions.js" with { type: "text" };
import api from "./api.js" with { type: "text" };
import delivery from "./delivery.js" with { type: "text" };
import dom from "./dom.js" with { type: "text" };
import drawer from "./drawer.js" with { type: "text" };
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
import panels from "./panels.js" with { type: "text" };
import rowWindow from "./row-window.js" with { type: "text" };
import style from "./style.css" with { type: "text" };
import theme from "./theme.js" with { type: "text" };
import uplink from "./uplink.js" with { type: "text" };
import verdict from "./verdict.js" with { type: "text" };

/** One file of the status page, as it is served. */
export interface PageAsset {
  /** `/`, `/main.js`. */
  readonly path: string;
  readonly contentType: string;
  readonly body: Uint8Array<ArrayBuffer>;
  /** A strong one, with its quotes: the hash of the body. */
  readonly etag: string;
}

/**
 * The policy that the page is served with. Nothing of it is inline, and it asks nobody but its own
 * agent: what the page is made to show can load, run and send nothing.
 */
export const PAGE_POLICY: string = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

const MODULES: Readonly<Record<string, string>> = {
  ...{ actions, api, delivery, dom, drawer, flow, format, images, journal, login, main, panels },
  ...{ theme, uplink, verdict },
  ...{ "flow-graph": flowGraph, "image-status": imageStatus, "row-window": rowWindow },
};

/**
 * The files of the status page: HTML, CSS and modules as a browser reads them, without a build step.
 * They lie in the executable as texts. Only comments that fill whole lines are left out: a fifth of all
 * bytes, which no tablet on a site needs.
 */
export function pageAssets(): readonly PageAsset[] {
  return [
    asset("/", "text/html; charset=utf-8", String(html)),
    asset("/style.css", "text/css; charset=utf-8", style),
    asset("/icon.svg", "image/svg+xml", icon),
    ...Object.entries(MODULES).map(([name, text]) =>
      asset(`/${name}.js`, "text/javascript; charset=utf-8", text),
    ),
  ];
}

const COMMENT_LINES = /^[ \t]*\/\*(?:(?!\*\/)[\s\S])*\*\/\n/gm;

function asset(path: string, contentType: string, text: string): PageAsset {
  const body = new TextEncoder().encode(text.replace(COMMENT_LINES, ""));
  const hash = createHash("sha256").update(body).digest("base64url");
  return { path, contentType, body, etag: `"${hash.slice(0, 22)}"` };
}
