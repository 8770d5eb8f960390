/**
 * A table of which only the rows in sight exist. All rows are of one height; two empty ones stand for
 * those above and below.
 */
import { arrange, h } from "./dom.js";

/** Rows beyond the edges, so that scrolling finds them painted. */
const BEYOND = 8;

/**
 * @template T
 * @typedef {{
 *   keyOf(item: T): string,
 *   cells(item: T): HTMLTableCellElement[],
 *   open(item: T): void,
 * }} Rows
 */

/**
 * @param {unknown} a
 * @param {unknown} b
 */
const isSame = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);

/**
 * @template T
 * @param {HTMLElement} scroller
 * @param {HTMLTableElement} table with one body
 * @param {Rows<T>} rows
 * @returns {(items: readonly T[]) => void} shows these
 */
export function createRowWindow(scroller, table, rows) {
  const body = /** @type {HTMLTableSectionElement} */ (table.tBodies[0]);
  const above = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td"));
  const below = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td"));
  /** @type {Map<string, {row: HTMLTableRowElement, item: T, index: number}>} */
  const made = new Map();
  /** @type {readonly T[]} */
  let items = [];
  /** The row that the keys are at. */
  let current = 0;

  /** What is in sight, in CSS pixels: to ask at every drawing would have all of the page laid out anew. */
  let top = 0;
  let room = 0;
  let height = 56;

  /** The height is a matter of style. */
  function measure() {
    height = Number.parseFloat(getComputedStyle(table).getPropertyValue("--row")) || height;
    room = scroller.clientHeight;
    top = scroller.scrollTop;
    draw();
  }

  const headHeight = () => table.tHead?.offsetHeight ?? 0;

  function draw() {
    // A shorter list ends above the place that a longer one was scrolled to.
    const from = Math.min(top, Math.max(0, items.length * height - room));
    const first = Math.max(0, Math.floor(from / height) - BEYOND);
    const last = Math.min(items.length, Math.ceil((from + room) / height) + BEYOND);
    const sight = items.slice(first, last);
    const keys = new Set(sight.map(rows.keyOf));
    for (const key of made.keys()) if (!keys.has(key)) made.delete(key);
    above.style.height = `${first * height}px`;
    below.style.height = `${(items.length - last) * height}px`;
    const drawn = sight.map((item, i) => rowOf(item, first + i));
    arrange(body, [above, ...drawn, below]);
  }

  /**
   * @param {T} item
   * @param {number} index
   */
  function rowOf(item, index) {
    const key = rows.keyOf(item);
    const before = made.get(key);
    const row = before?.row ?? h("tr");
    if (before === undefined || !isSame(before.item, item)) {
      const had = row.contains(document.activeElement);
      row.replaceChildren(...rows.cells(item));
      if (had) row.querySelector("button")?.focus({ preventScroll: true });
    }
    if (before?.index !== index) {
      row.ariaRowIndex = String(index + 2);
      row.dataset.index = String(index);
    }
    made.set(key, { row, item, index });
    const button = row.querySelector("button");
    const tabIndex = index === current ? 0 : -1;
    if (button !== null && button.getAttribute("tabindex") !== String(tabIndex)) {
      button.tabIndex = tabIndex;
    }
    return row;
  }

  /** @param {number} index */
  function go(index) {
    current = Math.max(0, Math.min(items.length - 1, index));
    const edge = current * height;
    const free = scroller.clientHeight - headHeight();
    if (edge < scroller.scrollTop) scroller.scrollTop = edge;
    else if (edge + height > scroller.scrollTop + free) scroller.scrollTop = edge + height - free;
    top = scroller.scrollTop;
    draw();
    body.querySelector(`[data-index="${current}"]`)?.querySelector("button")?.focus();
  }

  let isAsked = false;
  scroller.addEventListener("scroll", () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      top = scroller.scrollTop;
      draw();
    });
  });
  scroller.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(scroller.clientHeight / height) - 2);
    /** @type {Record<string, number>} */
    const steps = {
      ArrowDown: current + 1,
      ArrowUp: current - 1,
      PageDown: current + page,
      PageUp: current - page,
      Home: 0,
      End: items.length - 1,
    };
    const to = steps[event.key];
    if (to === undefined || items.length === 0) return;
    event.preventDefault();
    go(to);
  });
  table.addEventListener("click", ({ target }) => {
    const row = target instanceof Element ? target.closest("tr") : null;
    const index = Number(row?.dataset.index ?? Number.NaN);
    const item = items[index];
    if (item === undefined) return;
    go(index);
    rows.open(item);
  });
  new ResizeObserver(measure).observe(scroller);

  return (shown) => {
    items = shown;
    current = Math.max(0, Math.min(current, items.length - 1));
    table.ariaRowCount = String(items.length + 1);
    draw();
  };
}
