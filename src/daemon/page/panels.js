/**
 * Disk, proof, revisions, credentials, parts of the agent.
 *
 * @import {DiskUse} from "../operations.ts"
 * @import {RevisionState, SiteState} from "../state.ts"
 */
import { byId, h, show, svg } from "./dom.js";
import { ago, bytes, count, counted, exactly, moment, percent } from "./format.js";
import { minuteOf } from "./verdict.js";

/** @type {Record<keyof DiskUse["use"], string>} */
const KEEPERS = {
  active: "Active revision",
  staged: "Staged revision",
  previous: "Previous, for a rollback",
  pushed: "Pushed by others",
  partial: "Half downloaded",
  unkept: "Kept by nothing",
  quarantine: "Set aside as damaged",
};

/** @param {SiteState} state */
export function showPanels(state) {
  const now = minuteOf(state.at);
  show(byId("disk"), state.disk, () => disk(state.disk));
  show(byId("proof"), [state.proof, now], () => proof(state));
  const { active, staged, previous, wanted } = state;
  show(byId("revisions"), [active, staged, previous, wanted, now], () => revisions(state));
  show(byId("credentials"), [state.credentials, now], () => credentials(state));
  show(byId("parts"), [state.parts, state.upkeep, state.version, now], () => parts(state));
}

/** @param {SiteState["disk"]} use */
function disk(use) {
  if (use === null) return h("p", { class: "empty" }, "Not measured yet.");
  const kept = /** @type {[keyof DiskUse["use"], {bytes: number, blobs: number}][]} */ (
    Object.entries(use.use)
  ).filter(([, part]) => part.bytes > 0);
  const own = kept.reduce((total, [, part]) => total + part.bytes, 0);
  const others = Math.max(0, use.totalBytes - use.freeBytes - own);
  /** @type {[kind: string, name: string, bytes: number, blobs: string][]} */
  const rows = [
    ...kept.map(
      ([kind, part]) =>
        /** @type {[string, string, number, string]} */ ([
          kind,
          KEEPERS[kind],
          part.bytes,
          count(part.blobs),
        ]),
    ),
    ["others", "Everything else on it", others, ""],
    ["free", "Free", use.freeBytes, ""],
  ];
  return [
    shareBar(rows.map(([kind, , amount]) => [kind, amount])),
    h(
      "table",
      { class: "plain-table" },
      h("thead", {}, h("tr", {}, head("Kept by"), head("Bytes", true), head("Blobs", true))),
      h(
        "tbody",
        {},
        rows.map(([kind, name, amount, blobs]) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, swatch(kind), name),
            h("td", { class: "number" }, bytes(amount)),
            h("td", { class: "number" }, blobs),
          ),
        ),
      ),
    ),
    h(
      "p",
      { class: "fine" },
      `${percent(use.totalBytes - use.freeBytes, use.totalBytes)} of ${bytes(use.totalBytes)} used`,
    ),
  ];
}

/** @param {readonly (readonly [kind: string, amount: number])[]} parts */
function shareBar(parts) {
  const all = parts.reduce((total, [, amount]) => total + amount, 0);
  let x = 0;
  const pieces = parts.map(([kind, amount]) => {
    const width = all > 0 ? (amount / all) * 100 : 0;
    const piece = svg("rect", { x, width, y: 0, height: 10, class: "use", "data-kind": kind });
    x += width;
    return piece;
  });
  const attributes = { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none" };
  return svg("svg", { ...attributes, "aria-hidden": "true" }, pieces);
}

/** @param {string} kind */
const swatch = (kind) =>
  svg(
    "svg",
    { class: "swatch", viewBox: "0 0 10 10", "aria-hidden": "true" },
    svg("rect", { width: 10, height: 10, class: "use", "data-kind": kind }),
  );

/** @param {string} text @param {boolean} [isNumber] */
const head = (text, isNumber = false) =>
  h("th", { scope: "col", class: isNumber ? "number" : null }, text);

/** @param {SiteState} state */
function proof({ proof: last, at }) {
  if (last === null)
    return h(
      "p",
      { class: "empty" },
      "Nothing was proven yet. Prove asks every reference on this site, without the uplink.",
    );
  return [
    h(
      "p",
      { class: "proof-sentence" },
      h(
        "span",
        { class: "status", "data-status": last.ok ? "here" : "failed" },
        last.ok ? "Holds" : "Wanting",
      ),
      last.sentence,
    ),
    h("progress", {
      max: Math.max(1, last.references),
      value: last.held,
      "aria-label": "References that are held",
    }),
    h(
      "ul",
      { class: "faults" },
      last.wanting.map(({ image, message, hint }) =>
        h(
          "li",
          {},
          h("p", { class: "warning-hint" }, hint || message),
          h("p", { class: "ref" }, image),
          hint && h("p", { class: "warning-message" }, message),
        ),
      ),
    ),
    h(
      "p",
      { class: "fine" },
      h("span", { title: exactly(last.at) }, `Proven ${ago(last.at, at)}`),
      h("a", { href: "/api/v1/proof", target: "_blank", rel: "noopener" }, "Whole proof, JSON"),
    ),
  ];
}

/** @param {SiteState} state */
function revisions({ active, staged, previous, wanted, at }) {
  /** @type {[role: string, revision: RevisionState][]} */
  const known = [];
  if (wanted !== null) known.push(["On its way", wanted]);
  if (staged !== null) known.push(["Staged", staged]);
  if (active !== null) known.push(["Active", active]);
  if (previous !== null) known.push(["Previous", previous]);
  if (known.length === 0) return h("p", { class: "empty" }, "No revision was read yet.");
  return h(
    "div",
    { class: "sideways", tabindex: "0", role: "region", "aria-label": "Revisions, table" },
    h(
      "table",
      { class: "plain-table" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["Role", "Revision", "Profiles", "Staged", "Activated"].map((name) => head(name)),
        ),
      ),
      h(
        "tbody",
        {},
        known.map(([role, { id, profiles, images, stagedMs, activatedMs, source }]) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, role),
            h("td", {}, h("code", { title: source }, id)),
            h(
              "td",
              {},
              profiles.join(", "),
              h("span", { class: "fine" }, counted(images, "image")),
            ),
            h("td", {}, when(stagedMs, at, "not complete")),
            h("td", {}, when(activatedMs, at, "–")),
          ),
        ),
      ),
    ),
  );
}

/**
 * @param {number | null} ms
 * @param {number} now
 * @param {string} never
 */
const when = (ms, now, never) =>
  ms === null
    ? never
    : h("time", { datetime: new Date(ms).toISOString(), title: exactly(ms) }, ago(ms, now));

/** How a state of a credential is shown. @type {Record<string, [status: string, word: string]>} */
const CREDENTIAL_STATES = {
  ok: ["here", "Accepted"],
  "expires-soon": ["waiting", "Expires soon"],
  expired: ["failed", "Expired"],
  refused: ["failed", "Refused"],
  unreachable: ["waiting", "Unreachable"],
  untried: ["absent", "Not tried"],
};

/** @param {SiteState} state */
function credentials({ credentials: all, at }) {
  if (all.length === 0) return h("p", { class: "empty" }, "No registry was tried yet.");
  return h(
    "ul",
    { class: "faults" },
    all.map(({ registry, origin, state, why, hint, expiries }) => {
      const [status, word] = CREDENTIAL_STATES[state] ?? ["absent", state];
      return h(
        "li",
        {},
        h(
          "p",
          {},
          h("span", { class: "status", "data-status": status }, word),
          h("span", { class: "ref" }, registry),
        ),
        hint && h("p", { class: "warning-hint" }, hint),
        h("p", { class: "warning-message" }, why),
        h(
          "p",
          { class: "fine" },
          h("span", {}, origin ?? "without a credential"),
          expiries.map(({ name, endsMs }) =>
            h("span", { title: exactly(endsMs) }, `${name} ends ${ago(endsMs, at)}`),
          ),
        ),
      );
    }),
  );
}

/** @param {SiteState} state */
function parts({ parts: all, upkeep, version, startedMs }) {
  return [
    h(
      "ul",
      { class: "parts" },
      all.map(({ name, state, address, restarts, trouble }) =>
        h(
          "li",
          {},
          h(
            "span",
            {
              class: "status",
              "data-status":
                state === "running" ? "here" : state === "restarting" ? "waiting" : "absent",
            },
            name,
          ),
          h(
            "span",
            { class: "fine" },
            [
              address,
              state === "running" ? "" : state,
              restarts > 0 ? counted(restarts, "restart") : "",
            ]
              .filter(Boolean)
              .join(" · "),
          ),
          trouble && h("p", { class: "warning-message" }, `${trouble.message}. ${trouble.hint}`),
        ),
      ),
    ),
    [upkeep.verified, upkeep.collected].map(
      (done) =>
        done && h("p", { class: done.ok ? "fine" : "fault" }, `${done.text}, ${moment(done.atMs)}`),
    ),
    h("p", { class: "fine" }, `Version ${version}, running since ${moment(startedMs)}`),
  ];
}
