/**
 * The uplink over time, against its cap and its quota.
 *
 * @import {LinkState} from "../operations.ts"
 * @import {SiteState, UplinkSlice} from "../state.ts"
 */
import { ApiFailure, getUplink } from "./api.js";
import { byId, h, onWidth, show, svg } from "./dom.js";
import { bytes, day, moment, percent, rate, timeOfDay } from "./format.js";

/** The picture moves on so often; slices of a day are five minutes. */
const REFRESH_MS = 60_000;
const HEIGHT = 168;
const EDGE = /** @type {const} */ ({ top: 10, right: 4, bottom: 22, left: 64 });

const figure = h("figure", { class: "chart" });
const caption = h("figcaption", { class: "fine" });
const budget = h("div", { class: "budget" });
/** @type {readonly UplinkSlice[]} */
let slices = [];
let known = "";

export function setUpUplink() {
  byId("uplink").append(figure, caption, budget);
  onWidth(figure, draw);
  byId("uplink-hours").addEventListener("change", () => load());
}

/** @param {SiteState} state */
export function showUplink({ link, at }) {
  show(budget, link, () => budgetOf(link));
  const key = String(Math.floor(at / REFRESH_MS));
  if (key === known) return;
  known = key;
  void load();
}

async function load() {
  const hours = Number(/** @type {HTMLSelectElement} */ (byId("uplink-hours")).value);
  try {
    slices = await getUplink(hours);
    draw();
  } catch (error) {
    if (!(error instanceof ApiFailure)) throw error;
    known = "";
  }
}

/** @param {UplinkSlice} slice */
const rateOf = ({ bytes: amount, ms }) => (ms > 0 ? (amount * 1000) / ms : 0);

function draw() {
  const width = figure.clientWidth;
  const first = slices[0];
  const last = slices.at(-1);
  if (width === 0) return;
  if (first === undefined || last === undefined) {
    caption.textContent = "Nothing was measured yet.";
    return;
  }
  const total = slices.reduce((sum, slice) => sum + slice.bytes, 0);
  const peak = Math.max(...slices.map(rateOf));
  const caps = slices.map(({ capBytesPerSecond }) => capBytesPerSecond ?? 0);
  const top = niceTop(Math.max(peak, ...caps, 1000));
  const fromMs = first.atMs;
  const untilMs = last.atMs + last.ms;
  const x = (/** @type {number} */ ms) =>
    EDGE.left + ((ms - fromMs) / (untilMs - fromMs)) * (width - EDGE.left - EDGE.right);
  const y = (/** @type {number} */ value) =>
    HEIGHT - EDGE.bottom - (value / top) * (HEIGHT - EDGE.top - EDGE.bottom);
  caption.textContent = `${bytes(total)} since ${moment(fromMs)}, at most ${rate(peak)}`;
  figure.replaceChildren(
    svg(
      "svg",
      {
        viewBox: `0 0 ${width} ${HEIGHT}`,
        height: HEIGHT,
        role: "img",
        "aria-label": `Uplink: ${caption.textContent}`,
      },
      shut(x),
      [0, top / 2, top].map((value) => [
        svg("line", {
          class: "grid",
          x1: EDGE.left,
          x2: width - EDGE.right,
          y1: y(value),
          y2: y(value),
        }),
        svg(
          "text",
          { class: "axis", x: EDGE.left - 8, y: y(value) + 4, "text-anchor": "end" },
          rate(value),
        ),
      ]),
      times(fromMs, untilMs, width).map(([ms, text, anchor]) =>
        svg("text", { class: "axis", x: x(ms), y: HEIGHT - 5, "text-anchor": anchor }, text),
      ),
      svg("path", { class: "uplink-bytes", d: bars(x, y) }),
      svg("path", { class: "uplink-cap", d: capLine(x, y) }),
    ),
  );
}

/** The hours in which no window was open. @param {(ms: number) => number} x */
function shut(x) {
  return slices
    .filter(({ capBytesPerSecond }) => capBytesPerSecond === 0)
    .map(({ atMs, ms }) =>
      svg("rect", {
        ...{ class: "uplink-shut", x: x(atMs), width: x(atMs + ms) - x(atMs) },
        ...{ y: EDGE.top, height: HEIGHT - EDGE.top - EDGE.bottom },
      }),
    );
}

/**
 * All slices in one path: 300 elements would be slower to paint than the rest of the page.
 *
 * @param {(ms: number) => number} x
 * @param {(value: number) => number} y
 */
function bars(x, y) {
  return slices
    .filter(({ bytes: amount }) => amount > 0)
    .map((slice) => {
      const left = x(slice.atMs).toFixed(1);
      const right = x(slice.atMs + slice.ms).toFixed(1);
      return `M${left} ${y(0)}V${y(rateOf(slice)).toFixed(1)}H${right}V${y(0)}z`;
    })
    .join("");
}

/**
 * @param {(ms: number) => number} x
 * @param {(value: number) => number} y
 */
function capLine(x, y) {
  return slices
    .filter(({ capBytesPerSecond }) => capBytesPerSecond !== null && capBytesPerSecond > 0)
    .map(({ atMs, ms, capBytesPerSecond }) => {
      const height = y(capBytesPerSecond ?? 0).toFixed(1);
      return `M${x(atMs).toFixed(1)} ${height}H${x(atMs + ms).toFixed(1)}`;
    })
    .join("");
}

/**
 * @param {number} fromMs
 * @param {number} untilMs
 * @param {number} width
 * @returns {[ms: number, text: string, anchor: string][]}
 */
function times(fromMs, untilMs, width) {
  const span = untilMs - fromMs;
  const text = span > 2 * 86_400_000 ? day : timeOfDay;
  const n = width < 420 ? 2 : 4;
  return Array.from({ length: n + 1 }, (_, i) => {
    const ms = fromMs + (span * i) / n;
    return [ms, text(ms), i === 0 ? "start" : i === n ? "end" : "middle"];
  });
}

/** The next of 1, 2, 5, 10, 20 …, so that the axis has round numbers. @param {number} value */
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10) * power;
}

/** @param {LinkState | null} link */
function budgetOf(link) {
  if (link === null) return null;
  const { capBytesPerSecond: cap, untilMs, quota } = link;
  const until = untilMs === null ? "" : ` until ${moment(untilMs)}`;
  const now =
    cap === null ? "No cap" : cap === 0 ? `No window is open${until}` : `Cap ${rate(cap)}${until}`;
  if (quota === null) return h("p", {}, `${now}. No quota.`);
  const used = `${bytes(quota.usedBytes)} of ${bytes(quota.bytes)} used (${percent(quota.usedBytes, quota.bytes)})`;
  return [
    h("p", {}, `${now}.`),
    h("p", {}, `Quota: ${used}, renews ${moment(quota.renewsMs)}.`),
    h("progress", {
      max: Math.max(1, quota.bytes),
      value: quota.usedBytes,
      "aria-label": "Quota used",
    }),
  ];
}
