/**
 * What happened, newest first.
 *
 * @import {JournalEntry} from "../state.ts"
 */
import { ApiFailure, getJournal } from "./api.js";
import { arrange, byId, h } from "./dom.js";
import { exactly, moment } from "./format.js";

const PAGE = 25;
/** More would make the page heavy in a week; older ones are a click away. */
const LIVE_MOST = 200;

/** @type {readonly string[]} */
const LEVELS = ["info", "warning", "error"];

/** @type {JournalEntry[]} */
let entries = [];
let hasOlder = false;
/** @type {Map<number, HTMLLIElement>} */
const lines = new Map();

export function setUpJournal() {
  byId("journal-level").addEventListener("change", draw);
  byId("journal-older").addEventListener("click", () => load(entries.at(-1)?.id));
}

/** Reads the newest page: at the start, and after the connection was lost. */
export async function refreshJournal() {
  entries = [];
  await load();
}

/** @param {number} [before] */
async function load(before) {
  try {
    const page = await getJournal(PAGE, before);
    const known = new Set(entries.map(({ id }) => id));
    entries = [...entries, ...page.filter(({ id }) => !known.has(id))].sort((a, b) => b.id - a.id);
    hasOlder = page.length === PAGE;
    draw();
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
  }
}

/** @param {JournalEntry} entry that has just been written */
export function addToJournal(entry) {
  if (entries.some(({ id }) => id === entry.id)) return;
  entries = [entry, ...entries];
  if (entries.length > LIVE_MOST) {
    entries.length = LIVE_MOST;
    hasOlder = true;
  }
  draw();
}

function draw() {
  const least = LEVELS.indexOf(/** @type {HTMLSelectElement} */ (byId("journal-level")).value);
  const shown = entries.filter(({ level }) => LEVELS.indexOf(level) >= least);
  const ids = new Set(entries.map(({ id }) => id));
  for (const id of lines.keys()) if (!ids.has(id)) lines.delete(id);
  arrange(byId("journal"), shown.map(lineOf));
  byId("journal-older").hidden = !hasOlder;
}

/** @param {JournalEntry} entry */
function lineOf(entry) {
  const { id, at, level, text, by } = entry;
  const line =
    lines.get(id) ??
    h(
      "li",
      { "data-level": level },
      h("time", { datetime: new Date(at).toISOString(), title: exactly(at) }, moment(at)),
      h("span", { class: "journal-level" }, level === "info" ? "" : level),
      h("span", { class: "journal-text" }, text),
      by !== null && h("span", { class: "fine" }, `by ${by}`),
    );
  lines.set(id, line);
  return line;
}
