/**
 * How far the delivery at work is, or how the last one went.
 *
 * @import {DeliveryState, SiteState} from "../state.ts"
 */
import { byId, h, setText } from "./dom.js";
import {
  bytes,
  bytesByNow,
  counted,
  duration,
  moment,
  percent,
  rate,
  timeOfDay,
} from "./format.js";

const bar = h("progress", { "aria-label": "Bytes of the delivery that are on this site", max: 1 });
const share = h("p", { class: "progress-share" });
const facts = h("dl", { class: "facts" });
/** @type {Map<string, HTMLElement>} */
const values = new Map();

/** @param {SiteState} state */
export function showProgress({ delivery, activity }) {
  const box = byId("progress");
  const isMoving = delivery !== null && delivery.endedMs === null;
  box.hidden = !isMoving;
  setText(byId("flow-caption"), delivery === null ? "" : caption(delivery));
  if (!isMoving) return;
  if (bar.parentElement !== box) box.replaceChildren(share, bar, facts);
  const here = bytesByNow(delivery);
  setText(share, percent(here, delivery.bytesTotal));
  bar.value = delivery.bytesTotal > 0 ? here / delivery.bytesTotal : 0;
  const images = sum(delivery.stages.map((stage) => stage.images));
  const done = sum(delivery.stages.map((stage) => stage.done));
  const failed = sum(delivery.stages.map((stage) => stage.failed));
  setFact("Time left", timeLeft(delivery, images, activity.waiting !== null));
  setFact("Rate", delivery.bytesPerSecond === null ? "–" : rate(delivery.bytesPerSecond));
  setFact("On this site", `${bytes(here)} of ${bytes(delivery.bytesTotal)}`);
  setFact(
    "Images",
    `${done} of ${counted(images, "image")}${failed > 0 ? `, ${failed} failed` : ""}`,
  );
  if (delivery.uploads !== null) {
    const { done: sent, images: all, bytesSent } = delivery.uploads;
    setFact("Uploaded", `${sent} of ${counted(all, "image")}, ${bytes(bytesSent)}`);
  }
}

/** @param {string} name @param {string} text */
function setFact(name, text) {
  let value = values.get(name);
  if (value === undefined) {
    value = h("dd");
    values.set(name, value);
    facts.append(h("div", {}, h("dt", {}, name), value));
  }
  setText(value, text);
}

/**
 * A number only when there is one to be had, else why there is none.
 *
 * @param {DeliveryState} delivery
 * @param {number} images
 * @param {boolean} isWaiting
 */
function timeLeft(delivery, images, isWaiting) {
  if (delivery.remainingMs !== null) return `about ${duration(delivery.remainingMs)}`;
  if (isWaiting) return "waiting";
  if (delivery.imagesSized < images) return `${delivery.imagesSized} of ${images} sized so far`;
  return "nothing moves";
}

/** @param {DeliveryState} delivery */
function caption({ endedMs, outcome, bytesMoved, startedMs }) {
  if (endedMs === null) return `Delivering since ${timeOfDay(startedMs)}`;
  const how = outcome === "done" ? "done" : outcome === "failed" ? "failed" : "was interrupted";
  const took = duration(endedMs - startedMs);
  return `The last delivery ${how} ${moment(endedMs)}: ${bytes(bytesMoved)} in ${took}`;
}

/** @param {readonly number[]} numbers */
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
