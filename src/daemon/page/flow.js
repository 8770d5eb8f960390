/**
 * The flow picture: registries → stages → store → local registry, runtime. The boxes are HTML, so that
 * they wrap, shorten and are read like any list; the ribbons between them are one SVG behind, as wide
 * as the bytes that they stand for.
 *
 * @import {ImageState, SiteState} from "../state.ts"
 * @import {Box, Ribbon} from "./flow-graph.js"
 * @typedef {{left: number, right: number, top: number, bottom: number, height: number}} Place
 */
import { arrange, byId, h, onWidth, show, svg } from "./dom.js";
import { flowOf, sum } from "./flow-graph.js";

const COLUMNS = { registries: "Registries", stages: "Stages", store: "Store", cluster: "Cluster" };

/** The widest that all ribbons of one column are together, in CSS pixels. */
const THICKNESS = 132;
/** What is there at all can be seen. */
const THINNEST = 2;

const picture = svg("svg", { class: "ribbons", "aria-hidden": "true" });
const board = h("div", { class: "board" });
/** @type {readonly Ribbon[]} */
let ribbons = [];

/**
 * @param {SiteState} state
 * @param {readonly ImageState[]} images of the revision that is shown
 */
export function showFlow(state, images) {
  const flow = byId("flow");
  if (board.parentElement !== flow) {
    flow.replaceChildren(picture, board);
    onWidth(flow, draw);
  }
  const graph = flowOf(state, images);
  show(board, graph.boxes, () => columnsOf(graph.boxes));
  if (JSON.stringify(ribbons) === JSON.stringify(graph.ribbons)) return;
  ribbons = graph.ribbons;
  draw();
}

/** @param {readonly Box[]} boxes */
function columnsOf(boxes) {
  return Object.entries(COLUMNS).map(([column, title]) =>
    h(
      "div",
      { class: "column", "data-column": column },
      h("h3", { class: "column-title" }, title),
      h(
        "ul",
        {},
        boxes
          .filter((made) => made.column === column)
          .map(({ id, kind, title: name, lines, failed }) =>
            h(
              "li",
              {
                class: "box",
                "data-id": id,
                "data-kind": kind,
                "data-failed": failed > 0,
                title: name,
              },
              h("span", { class: "box-title" }, name),
              lines.map((line) => h("span", { class: "box-line" }, line)),
            ),
          ),
      ),
    ),
  );
}

/** Lays the ribbons between the boxes, wherever these are now. */
function draw() {
  const frame = board.getBoundingClientRect();
  if (frame.width === 0) return;
  picture.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
  const places = placesOf(frame);
  const perByte = scale(ribbons, places);
  const widthOf = (/** @type {Ribbon} */ ribbon) => Math.max(THINNEST, ribbon.bytes * perByte);
  /** How far along its side each box is taken. @type {Map<string, number>} */
  const taken = new Map();
  arrange(
    picture,
    ribbons.flatMap((ribbon) => {
      const from = places.get(ribbon.from);
      const to = places.get(ribbon.to);
      if (from === undefined || to === undefined) return [];
      const start = offset(`out ${ribbon.from}`, ribbon, ({ from: id }) => id === ribbon.from);
      const end = offset(`in ${ribbon.to}`, ribbon, ({ to: id }) => id === ribbon.to);
      return strokes(course(from, to, start, end), ribbon, widthOf(ribbon));
    }),
  );

  /**
   * Where a ribbon meets a box, from the middle of its side: they lie side by side, as one bundle.
   *
   * @param {string} side
   * @param {Ribbon} ribbon
   * @param {(other: Ribbon) => boolean} isOfSide
   */
  function offset(side, ribbon, isOfSide) {
    const before = taken.get(side) ?? 0;
    taken.set(side, before + widthOf(ribbon));
    const bundle = sum(ribbons.filter(isOfSide).map(widthOf));
    return before + widthOf(ribbon) / 2 - bundle / 2;
  }
}

/**
 * The boxes, as seen from the frame.
 *
 * @param {DOMRect} frame
 * @returns {Map<string, Place>}
 */
function placesOf(frame) {
  return new Map(
    [...board.querySelectorAll(".box")].map((item) => {
      const { left, right, top, bottom, height } = item.getBoundingClientRect();
      const place = {
        ...{ left: left - frame.left, right: right - frame.left, height },
        ...{ top: top - frame.top, bottom: bottom - frame.top },
      };
      return [item.getAttribute("data-id") ?? "", place];
    }),
  );
}

/**
 * Across to the next column; where that has wrapped below, down or back.
 *
 * @param {Place} from
 * @param {Place} to
 * @param {number} start from the middle of the side that it leaves
 * @param {number} end from the middle of the side that it meets
 */
function course(from, to, start, end) {
  const isAcross = to.left >= from.right;
  if (!isAcross && to.right > from.left) {
    const x0 = (from.left + from.right) / 2 + start;
    const x1 = (to.left + to.right) / 2 + end;
    const middle = (from.bottom + to.top) / 2;
    return `M${x0} ${from.bottom}C${x0} ${middle} ${x1} ${middle} ${x1} ${to.top}`;
  }
  const x0 = isAcross ? from.right : from.left;
  const x1 = isAcross ? to.left : to.right;
  const y0 = from.top + from.height / 2 + start;
  const y1 = to.top + to.height / 2 + end;
  const middle = (x0 + x1) / 2;
  return `M${x0} ${y0}C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}`;
}

/**
 * Pixels for a byte: the same everywhere, so that widths can be compared, and so that no bundle is
 * higher than the box that it meets.
 *
 * @param {readonly Ribbon[]} all
 * @param {ReadonlyMap<string, Place>} places
 */
function scale(all, places) {
  const inward = sum(all.filter(({ from }) => from.startsWith("registry")).map((r) => r.bytes));
  const limits = [...places].flatMap(([id, { height }]) => {
    const most = Math.max(
      sum(all.filter(({ from }) => from === id).map((r) => r.bytes)),
      sum(all.filter(({ to }) => to === id).map((r) => r.bytes)),
    );
    return most > 0 ? [(height - 8) / most] : [];
  });
  return Math.max(0, Math.min(THICKNESS / Math.max(1, inward), ...limits));
}

/** Paths that are drawn are kept: a new one would begin its motion anew. @type {Map<string, SVGPathElement>} */
const paths = new Map();

/**
 * All of it faint, and over it the part that is here.
 *
 * @param {string} d
 * @param {Ribbon} ribbon
 * @param {number} width
 */
function strokes(d, { from, to, bytes, here, kind, moves }, width) {
  const done = Math.min(1, here / bytes);
  const line = (/** @type {string} */ name, /** @type {number} */ thick) => {
    const key = `${from} ${to} ${name}`;
    const path = paths.get(key) ?? svg("path", { class: `ribbon ${name}`, "data-kind": kind });
    paths.set(key, path);
    path.setAttribute("d", d);
    path.setAttribute("stroke-width", thick.toFixed(1));
    return path;
  };
  return [
    line("ribbon-all", width),
    ...(done > 0 ? [line("ribbon-here", Math.max(1, width * done))] : []),
    ...(moves ? [line("ribbon-moves", Math.min(3, Math.max(1.5, width / 3)))] : []),
  ];
}
