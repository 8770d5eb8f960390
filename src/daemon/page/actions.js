/**
 * What an operator can ask for.
 *
 * @import {ActionName, RevisionState, SiteState} from "../state.ts"
 * @import {Me} from "./api.js"
 */
import { ApiFailure, act, getImages } from "./api.js";
import { arrange, byId, h, setText } from "./dom.js";
import { count, counted, moment } from "./format.js";

/** @type {Record<ActionName, string>} */
const LABELS = {
  stage: "Stage",
  activate: "Activate",
  rollback: "Roll back",
  pause: "Pause",
  resume: "Resume",
  prove: "Prove",
  verify: "Verify",
  collect: "Collect",
};

/** What can't be undone by a second click asks first. @type {readonly ActionName[]} */
const ASK_FIRST = ["activate", "rollback"];

/** @type {Map<ActionName, HTMLButtonElement>} */
const buttons = new Map();
/** @type {SiteState | undefined} */
let current;

/**
 * @param {SiteState} state
 * @param {Me} me
 */
export function showActions(state, me) {
  current = state;
  byId("actions").hidden = me.role !== "operate";
  const names = /** @type {ActionName[]} */ (Object.keys(LABELS)).filter((name) =>
    name === "pause" ? state.paused === null : name !== "resume" || state.paused !== null,
  );
  arrange(
    byId("actions"),
    names.map((name) => update(name, state.actions[name])),
  );
}

/**
 * A button that is not allowed stays in the order of keys, so that its reason can be found.
 *
 * @param {ActionName} name
 * @param {{allowed: boolean, why: string} | undefined} permission
 */
function update(name, permission) {
  const button = buttons.get(name) ?? make(name);
  const allowed = permission?.allowed === true;
  const why = allowed ? "" : (permission?.why ?? "");
  button.setAttribute("aria-disabled", String(!allowed));
  button.title = why;
  button.classList.toggle("primary", allowed && name === "activate");
  const spoken = why === "" ? LABELS[name] : `${LABELS[name]}, not now: ${why}`;
  if (button.getAttribute("aria-label") !== spoken) button.setAttribute("aria-label", spoken);
  return button;
}

/** @param {ActionName} name */
function make(name) {
  const button = h("button", { type: "button", "data-action": name }, LABELS[name]);
  button.addEventListener("click", () => press(name));
  buttons.set(name, button);
  return button;
}

/** @param {ActionName} name */
function press(name) {
  const permission = current?.actions[name];
  if (current === undefined || permission === undefined) return;
  if (!permission.allowed) setText(byId("action-note"), `${LABELS[name]}: ${permission.why}`);
  else if (ASK_FIRST.includes(name)) confirm(name, current);
  else void run(name);
}

/** @param {ActionName} name */
async function run(name) {
  const note = byId("action-note");
  setText(note, `${LABELS[name]}: asked`);
  try {
    await act(name);
    setText(note, `${LABELS[name]}: accepted`);
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    setText(note, `${LABELS[name]}: ${error.message}${error.hint ? `. ${error.hint}` : ""}`);
  }
}

/**
 * @param {ActionName} name
 * @param {SiteState} state
 */
function confirm(name, state) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("confirm"));
  const change = h("p", { class: "fine" });
  const yes = h("button", { type: "button", class: "primary" }, LABELS[name]);
  const no = h("button", { type: "button", autofocus: true }, "Cancel");
  no.addEventListener("click", () => dialog.close());
  yes.addEventListener("click", () => {
    dialog.close();
    void run(name);
  });
  const [title, consequences] = name === "activate" ? activation(state) : rollback(state);
  dialog.replaceChildren(
    h("h2", { id: "confirm-title" }, title),
    h(
      "ul",
      {},
      consequences.map((text) => h("li", {}, text)),
    ),
    change,
    h("div", { class: "dialog-actions" }, no, yes),
  );
  dialog.showModal();
  if (name === "activate" && state.active !== null) void compare(change);
}

/** @param {SiteState} state @returns {[title: string, consequences: string[]]} */
function activation({ staged, active }) {
  const kept =
    active === null
      ? "Nothing is active yet: there is nothing to roll back to."
      : `Revision ${active.id} stays on this site, for a rollback.`;
  return [
    `Activate revision ${staged?.id ?? ""}?`,
    [
      `The cluster is turned to ${described(staged)}: mirrors, runtime and hand-over, as the site file says.`,
      "Every image of it is on this site already: nothing crosses the uplink.",
      kept,
    ],
  ];
}

/** @param {SiteState} state @returns {[title: string, consequences: string[]]} */
function rollback({ active, previous }) {
  return [
    `Roll back to revision ${previous?.id ?? ""}?`,
    [
      `The cluster is turned back to ${described(previous)}.`,
      `Revision ${active?.id ?? ""}, active since ${active?.activatedMs ? moment(active.activatedMs) : "now"}, is no longer in force.`,
    ],
  ];
}

/** @param {RevisionState | null} revision */
function described(revision) {
  if (revision === null) return "it";
  return `revision ${revision.id} (${revision.profiles.join(", ")}, ${counted(revision.images, "image")})`;
}

/** @param {HTMLElement} into */
async function compare(into) {
  try {
    const [active, staged] = await Promise.all([getImages("active"), getImages("staged")]);
    const before = new Set(active.map(({ declared }) => declared));
    const after = new Set(staged.map(({ declared }) => declared));
    const added = [...after].filter((name) => !before.has(name)).length;
    const gone = [...before].filter((name) => !after.has(name)).length;
    setText(into, `Against now: ${count(added)} new, ${count(gone)} no longer declared.`);
  } catch {
    // The comparison is a courtesy: without it the question still stands.
  }
}
