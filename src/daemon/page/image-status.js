/**
 * What is shown of an image in a word.
 *
 * @import {ImageState} from "../state.ts"
 * @typedef {"failed" | "moving" | "waiting" | "here" | "kept" | "absent"} Status
 */

/** @type {Record<Status, string>} */
export const STATUS_WORDS = {
  failed: "Failed",
  moving: "Moving",
  waiting: "Waiting",
  here: "Here",
  kept: "Kept",
  absent: "Not here",
};

/**
 * @param {ImageState} image
 * @returns {Status}
 */
export function statusOf({ outcome, upload, failure, whereabouts }) {
  if (failure !== null || outcome === "failed" || upload === "failed") return "failed";
  if (outcome === "moving" || upload === "moving") return "moving";
  if (outcome === "waiting" || upload === "waiting") return "waiting";
  if (whereabouts.digest === null) return "absent";
  return outcome === "stood" ? "kept" : "here";
}

/** A line beside the word: what is meant by it here. @param {ImageState} image */
export function statusDetail({ outcome, upload, failure, whereabouts }) {
  if (failure !== null) return failure.code;
  if (outcome === "moving") return "from its registry";
  if (upload === "moving") return "to the local registry";
  if (outcome === "stood") return "its registry could not be asked";
  if (whereabouts.digest === null) return "";
  if (whereabouts.runtime === "pinned") return "pinned in the runtime";
  if (whereabouts.runtime === "absent") return "not in the runtime yet";
  if (whereabouts.runtime === "present") return "in the runtime";
  return upload === "uploaded" || upload === "present" ? "uploaded" : "";
}
