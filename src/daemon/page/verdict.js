/**
 * The state of the site in one sentence, and what needs a person.
 *
 * @import {SiteState} from "../state.ts"
 */
import { byId, h, setText, show } from "./dom.js";
import { ago, moment, timeOfDay } from "./format.js";

/** @type {Record<SiteState["verdict"]["level"], string>} */
const LEVELS = {
  ready: "Ready",
  working: "Working",
  waiting: "Waiting",
  wanting: "Wanting",
  failed: "Failed",
};

/** @param {SiteState} state */
export function showVerdict(state) {
  const { verdict, activity, paused } = state;
  byId("verdict").dataset.level = verdict.level;
  setText(byId("level"), LEVELS[verdict.level] ?? verdict.level);
  setText(byId("sentence"), verdict.sentence);
  const remedy = byId("remedy");
  setText(remedy, verdict.remedy ?? "");
  remedy.hidden = verdict.remedy === null;
  setText(byId("waiting"), [pauseText(paused), waitingText(activity.waiting)].join(" ").trim());
  setText(byId("host"), state.host);
  document.title = `${LEVELS[verdict.level] ?? ""} · ${state.host} · Drayage`;
  announce(state);
}

/** @param {SiteState["paused"]} paused */
function pauseText(paused) {
  return paused === null ? "" : `Paused by ${paused.by} since ${moment(paused.sinceMs)}.`;
}

/** @param {SiteState["activity"]["waiting"]} waiting */
function waitingText(waiting) {
  if (waiting === null) return "";
  const until = waiting.untilMs === null ? "" : `, until ${timeOfDay(waiting.untilMs)}`;
  return `Waiting since ${timeOfDay(waiting.sinceMs)}: ${waiting.reason}${until}.`;
}

let announced = "";

/**
 * Screen readers hear the sentence when the site gets into another state, not when a number in it ticks.
 *
 * @param {SiteState} state
 */
function announce({ verdict, activity }) {
  const kind = `${verdict.level} ${activity.name}`;
  if (kind === announced) return;
  announced = kind;
  byId("announcement").textContent = `${verdict.sentence} ${verdict.remedy ?? ""}`;
}

/**
 * What to do comes first: it is why a person reads this.
 *
 * @param {SiteState} state
 */
export function showWarnings({ warnings, at }) {
  byId("warnings").hidden = warnings.length === 0;
  const sorted = [...warnings].sort((a, b) => rank(a.level) - rank(b.level));
  show(byId("warning-list"), [warnings, minuteOf(at)], () =>
    sorted.map(({ level, subject, code, message, hint, sinceMs }) =>
      h(
        "li",
        { class: "warning", "data-level": level },
        h("p", { class: "warning-hint" }, hint || message),
        hint && h("p", { class: "warning-message" }, message),
        h(
          "p",
          { class: "fine" },
          h("span", { class: "tag" }, level === "error" ? "Error" : "Warning"),
          subject && h("span", { class: "ref" }, subject),
          h("code", {}, code),
          h("span", { title: moment(sinceMs) }, ago(sinceMs, at)),
        ),
      ),
    ),
  );
}

/** @param {string} level */
const rank = (level) => (level === "error" ? 0 : 1);

/** Times are told to the minute. @param {number} at */
export const minuteOf = (at) => Math.floor(at / 60_000);

/** @param {SiteState} state */
export function showRefused({ refused, active }) {
  byId("refused").hidden = refused === null;
  if (refused === null) return;
  show(byId("refused-body"), [refused, active?.id], () => [
    h(
      "p",
      {},
      h("span", { class: "ref" }, refused.source),
      `, read ${moment(refused.atMs)}. `,
      active === null ? "Nothing is in force yet." : `Revision ${active.id} stays in force.`,
    ),
    h(
      "ul",
      { class: "faults" },
      refused.faults.map(({ file, line, column, message, remedy, code }) =>
        h(
          "li",
          {},
          h("p", { class: "warning-hint" }, remedy),
          h("p", { class: "warning-message" }, message),
          h(
            "p",
            { class: "fine" },
            h("span", { class: "ref" }, `${file}:${line}:${column}`),
            h("code", {}, code),
          ),
        ),
      ),
    ),
  ]);
}
