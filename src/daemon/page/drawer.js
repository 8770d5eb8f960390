/**
 * One image, and why it comes from where it comes.
 *
 * @import {ImageState} from "../state.ts"
 * @import {Explanation, Role} from "./api.js"
 */
import { ApiFailure, getExplanation } from "./api.js";
import { byId, h } from "./dom.js";
import { bytes } from "./format.js";
import { STATUS_WORDS, statusDetail, statusOf } from "./image-status.js";

/**
 * @param {Role} role
 * @param {ImageState} image
 */
export async function openDrawer(role, image) {
  const drawer = /** @type {HTMLDialogElement} */ (byId("drawer"));
  const why = h("div", { "aria-busy": "true" }, h("p", { class: "fine" }, "Asking why…"));
  const close = h("button", { type: "button", autofocus: true }, "Close");
  close.addEventListener("click", () => drawer.close());
  drawer.replaceChildren(
    h(
      "div",
      { class: "drawer-head" },
      h("h2", { id: "drawer-title", class: "ref" }, image.declared),
      close,
    ),
    failure(image),
    facts(image),
    why,
  );
  // A click on what is behind closes it.
  drawer.onclick = ({ target }) => {
    if (target === drawer) drawer.close();
  };
  drawer.showModal();
  drawer.scrollTop = 0;
  why.replaceChildren(...(await explanation(role, image)));
  why.removeAttribute("aria-busy");
}

/** @param {ImageState} image */
function failure({ failure: trouble }) {
  if (trouble === null) return h("div", { hidden: true });
  return h(
    "div",
    { class: "warning", "data-level": "error" },
    h("p", { class: "warning-hint" }, trouble.hint || trouble.message),
    trouble.hint && h("p", { class: "warning-message" }, trouble.message),
    h("p", { class: "fine" }, h("code", {}, trouble.code)),
  );
}

/** @param {ImageState} image */
function facts(image) {
  const { whereabouts, credential, local, packs, stage, source, bytesMoved } = image;
  const status = statusOf(image);
  const detail = statusDetail(image);
  return h(
    "dl",
    { class: "details" },
    ...fact("State", `${STATUS_WORDS[status]}${detail === "" ? "" : `, ${detail}`}`),
    ...fact("Comes from", source, "ref"),
    ...fact("With", credential ?? "no credential", credential === null ? "" : "ref"),
    ...fact("Stage", stage),
    ...fact("Wanted by", packs.join(", ")),
    ...fact(
      "Digest",
      whereabouts.digest ?? "not on this site",
      whereabouts.digest === null ? "" : "ref",
    ),
    ...fact("Size", whereabouts.bytes === null ? "not known yet" : bytes(whereabouts.bytes)),
    ...(bytesMoved > 0 ? fact("Moved for it", bytes(bytesMoved)) : []),
    ...fact("Local registry", local ?? "not uploaded", local === null ? "" : "ref"),
  );
}

/**
 * @param {string} name
 * @param {string} text
 * @param {string} [kind]
 */
const fact = (name, text, kind = "") => [h("dt", {}, name), h("dd", { class: kind }, text)];

/**
 * @param {Role} role
 * @param {ImageState} image
 * @returns {Promise<HTMLElement[]>}
 */
async function explanation(role, image) {
  try {
    const { because, at } = await getExplanation(role, image.declared);
    return [...reasons(because), ...places(at)];
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    const text = [error.message, error.hint].filter(Boolean).join(". ");
    return [...reasons(image.because), h("p", { class: "fault" }, text)];
  }
}

/** @param {Explanation["because"]} because */
function reasons(because) {
  const rules = because.map(({ rule, text }) => h("li", {}, h("code", {}, rule), h("p", {}, text)));
  return [h("h3", {}, "Why from there"), h("ol", { class: "rules" }, rules)];
}

/** @param {Explanation["at"]} at */
function places(at) {
  const lines = at.map(({ file, line, column, path }) =>
    h(
      "li",
      {},
      h("span", { class: "ref" }, `${file}:${line}:${column}`),
      h("span", { class: "fine ref" }, path),
    ),
  );
  return [h("h3", {}, "Declared at"), h("ul", { class: "places" }, lines)];
}
