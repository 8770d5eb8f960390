/**
 * The images of a revision: found, filtered, and each explained.
 *
 * @import {ImageState, SiteState} from "../state.ts"
 * @import {Role} from "./api.js"
 */
import { ApiFailure, getImages } from "./api.js";
import { byId, h, setText } from "./dom.js";
import { openDrawer } from "./drawer.js";
import { count, counted, shortDigest } from "./format.js";
import { STATUS_WORDS, statusDetail, statusOf } from "./image-status.js";
import { createRowWindow } from "./row-window.js";

/** While something moves, what is moving is asked for anew so often. */
const REFRESH_MS = 3_000;
/** A list of so many is a megabyte: it is asked for less often. */
const MANY = 200;
const LONG_REFRESH_MS = 10_000;

/** @type {readonly ImageState[]} */
let images = [];
/** @type {Role} */
let role = "active";
/** Set by hand; else what a delivery is at is shown. @type {Role | undefined} */
let chosenRole;
/** @type {SiteState | undefined} */
let state;
let known = "";
let isAsking = false;
let isAskedAgain = false;
/** @type {(images: readonly ImageState[]) => void} */
let loaded = () => {};

const search = h("input", {
  ...{ type: "search", name: "search", placeholder: "Search name, source, digest" },
  ...{ "aria-label": "Search images", autocomplete: "off", spellcheck: "false" },
});
const revisionChoice = choice("Revision");
const statusChoice = choice("State");
const stageChoice = choice("Stage");
const registryChoice = choice("Registry");
const empty = h("p", { class: "empty" }, "Asking the agent…");
const table = h(
  "table",
  { class: "images" },
  h(
    "thead",
    {},
    h(
      "tr",
      { "aria-rowindex": "1" },
      ...["Image", "Comes from", "Digest", "State"].map((title, i) =>
        h("th", { scope: "col", class: `col-${i}` }, title),
      ),
    ),
  ),
  h("tbody"),
);
const scroller = h(
  "div",
  { class: "scroller", role: "region", "aria-label": "Images, table" },
  table,
);
const showRows = createRowWindow(scroller, table, {
  keyOf: (/** @type {ImageState} */ image) => image.declared,
  cells,
  open: (image) => void openDrawer(role, image),
});

/** @param {string} label */
function choice(label) {
  return h("select", { name: label.toLowerCase(), "aria-label": label });
}

/**
 * Puts the section together.
 *
 * @param {(images: readonly ImageState[]) => void} onLoaded whenever the images are known anew
 */
export function setUpImages(onLoaded) {
  loaded = onLoaded;
  const filters = byId("image-filters");
  filters.append(search, revisionChoice, statusChoice, stageChoice, registryChoice);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("input", ({ target }) => {
    if (target !== revisionChoice) filter();
    else if (state !== undefined) {
      chosenRole = /** @type {Role} */ (revisionChoice.value);
      showImages(state);
    }
  });
  byId("image-table").append(empty, scroller);
  scroller.hidden = true;
}

/** Asks for the images when what is known of them may be old. @param {SiteState} now */
export function showImages(now) {
  state = now;
  // What is on its way is looked at as what is staged.
  const revisions = { active: now.active, staged: now.staged ?? now.wanted };
  const roles = /** @type {Role[]} */ (
    ["active", "staged"].filter((name) => revisions[/** @type {Role} */ (name)])
  );
  const { staged } = revisions;
  const wanted = staged !== null && staged.id === now.delivery?.revision ? "staged" : "active";
  role =
    [chosenRole, /** @type {Role} */ (wanted), ...roles].find(
      (name) => name !== undefined && roles.includes(name),
    ) ?? "active";
  setOptions(
    revisionChoice,
    roles.map((name) => [name, `${roleWord(name, now)} ${revisions[name]?.id}`]),
    role,
  );
  revisionChoice.hidden = roles.length < 2;
  if (roles.length === 0) {
    known = "";
    images = [];
    setText(empty, "No revision was read yet: there are no images to show.");
    setChoices();
    filter();
    return;
  }
  const key = freshness(now);
  if (key === known) return;
  known = key;
  void refresh();
}

/** @param {Role} name @param {SiteState} now */
const roleWord = (name, now) =>
  name === "active" ? "Active" : now.staged === null ? "On its way" : "Staged";

/**
 * What it is that makes the list of images old when it changes. While something moves that is time: a
 * long list would be asked for without an end otherwise.
 *
 * @param {SiteState} now
 */
function freshness({ active, staged, wanted, delivery, activation, proof, at }) {
  const isMoving = delivery !== null && delivery.endedMs === null;
  const pauseMs = images.length > MANY ? LONG_REFRESH_MS : REFRESH_MS;
  return JSON.stringify([
    ...[role, active?.id, staged?.id, wanted?.id, activation?.atMs, proof?.at, delivery?.startedMs],
    isMoving ? Math.floor(at / pauseMs) : delivery?.endedMs,
  ]);
}

/** One request at a time; what was wanted meanwhile is asked for once, afterwards. */
async function refresh() {
  isAskedAgain = isAsking;
  if (isAsking) return;
  isAsking = true;
  try {
    images = await getImages(role);
    setText(empty, "No image is declared.");
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    // What was known stays in sight; the connection line says that it is old.
    if (images.length === 0) setText(empty, [error.message, error.hint].filter(Boolean).join(". "));
    known = "";
  } finally {
    isAsking = false;
  }
  if (isAskedAgain) void refresh();
  filter();
  setChoices();
  loaded(images);
}

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = images.filter(
    (image) =>
      (statusChoice.value === "" || statusOf(image) === statusChoice.value) &&
      (stageChoice.value === "" || image.stage === stageChoice.value) &&
      (registryChoice.value === "" || image.registry === registryChoice.value) &&
      words.every((word) => haystack(image).includes(word)),
  );
  const all = counted(images.length, "image");
  setText(
    byId("images-count"),
    found.length === images.length ? all : `${count(found.length)} of ${all}`,
  );
  empty.hidden = found.length > 0;
  if (images.length > 0) setText(empty, "No image matches. Clear the search or a filter.");
  scroller.hidden = found.length === 0;
  showRows(found);
}

/** @type {WeakMap<ImageState, string>} */
const haystacks = new WeakMap();

/** What the search looks at. @param {ImageState} image */
function haystack(image) {
  let text = haystacks.get(image);
  if (text === undefined) {
    const { declared, source, packs, whereabouts } = image;
    text = [declared, source, ...packs, whereabouts.digest ?? ""].join("\n").toLowerCase();
    haystacks.set(image, text);
  }
  return text;
}

/** The choices that there are, each with how many images it has. */
function setChoices() {
  const tally = (/** @type {(image: ImageState) => string} */ by) => {
    /** @type {Map<string, number>} */
    const tallies = new Map();
    for (const image of images) tallies.set(by(image), (tallies.get(by(image)) ?? 0) + 1);
    return tallies;
  };
  const options = (
    /** @type {string} */ all,
    /** @type {ReadonlyMap<string, number>} */ tallies,
    /** @type {Readonly<Record<string, string>>} */ words = {},
  ) => [
    ["", all],
    ...[...tallies].map(([name, n]) => [name, `${words[name] ?? name} (${count(n)})`]),
  ];
  setOptions(statusChoice, options("Any state", tally(statusOf), STATUS_WORDS), statusChoice.value);
  setOptions(
    stageChoice,
    options(
      "Any stage",
      tally(({ stage }) => stage),
    ),
    stageChoice.value,
  );
  setOptions(
    registryChoice,
    options(
      "Any registry",
      tally(({ registry }) => registry),
    ),
    registryChoice.value,
  );
}

/**
 * A choice whose last image is gone stays chosen: the list says by itself that nothing matches.
 *
 * @param {HTMLSelectElement} select
 * @param {readonly (readonly string[])[]} options value and text
 * @param {string} value
 */
function setOptions(select, options, value) {
  const all = options.some(([name]) => name === value)
    ? options
    : [...options, [value, `${value} (0)`]];
  const key = JSON.stringify(all);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(
      ...all.map(([name = "", text = ""]) => h("option", { value: name }, text)),
    );
  }
  select.value = value;
}

/** @param {ImageState} image */
function cells(image) {
  const { declared, stage, source, because, whereabouts } = image;
  const status = statusOf(image);
  return [
    h(
      "td",
      { class: "col-0" },
      h("button", { type: "button", class: "link ref", title: declared }, ...shortened(declared)),
      h("span", { class: "fine" }, h("span", { class: "stage", "data-kind": stage }, stage)),
    ),
    h(
      "td",
      { class: "col-1" },
      h("span", { class: "ref clip", title: source }, source),
      h("span", { class: "fine clip" }, because.map(({ rule }) => rule).join(" · ")),
    ),
    h(
      "td",
      { class: "col-2" },
      whereabouts.digest === null
        ? "–"
        : h("code", { title: whereabouts.digest }, shortDigest(whereabouts.digest)),
    ),
    h(
      "td",
      { class: "col-3" },
      h("span", { class: "status", "data-status": status }, STATUS_WORDS[status]),
      h("span", { class: "fine clip" }, statusDetail(image)),
    ),
  ];
}

/** The end of a name tells images apart: it is shown whole, and what comes before it shortened. @param {string} name */
function shortened(name) {
  const cut = name.lastIndexOf("/") + 1;
  return [
    h("span", { class: "ref-path" }, name.slice(0, cut)),
    h("span", { class: "ref-name" }, name.slice(cut)),
  ];
}
