/**
 * What the flow picture shows: boxes with a few words each, and ribbons of bytes between them.
 *
 * @import {DeliveryState, ImageState, SiteState} from "../state.ts"
 * @typedef {DeliveryState["sources"][number]} Source
 * @typedef {{from: string, to: string, bytes: number, here: number, kind: string, moves: boolean}} Ribbon
 * @typedef {{id: string, column: string, kind: string, title: string, lines: string[], failed: number}} Box
 */
import { bytes, bytesByNow, count, counted, percent } from "./format.js";

const STAGES = /** @type {const} */ (["provider", "infrastructure", "application"]);

/**
 * @param {SiteState} state
 * @param {readonly ImageState[]} images of the revision that is shown
 * @returns {{boxes: Box[], ribbons: Ribbon[]}}
 */
export function flowOf(state, images) {
  const sources = state.delivery?.sources ?? sourcesOf(images);
  const inner = stages(state, sources);
  const outer = ends(state, images);
  return {
    boxes: [...registries(sources), ...inner.boxes, ...outer.boxes],
    ribbons: [...inner.ribbons, ...outer.ribbons].filter((ribbon) => ribbon.bytes > 0),
  };
}

/** What a delivery would tell, from what is known of the images. @param {readonly ImageState[]} images */
function sourcesOf(images) {
  /** @type {Map<string, Source>} */
  const sources = new Map();
  for (const { registry, stage, whereabouts } of images) {
    const before = sources.get(`${registry} ${stage}`);
    const size = (before?.bytesTotal ?? 0) + (whereabouts.bytes ?? 0);
    sources.set(`${registry} ${stage}`, {
      ...{ registry, stage, images: (before?.images ?? 0) + 1 },
      ...{ bytesTotal: size, bytesHere: size, bytesMoved: 0 },
    });
  }
  return [...sources.values()];
}

/** @param {readonly Source[]} sources */
function registries(sources) {
  const names = [...new Set(sources.map(({ registry }) => registry))];
  return names.map((name) => {
    const own = sources.filter(({ registry }) => registry === name);
    const images = sum(own.map((source) => source.images));
    return box("registries", `registry ${name}`, "registry", name, [
      [counted(images, "image"), amount(own)].filter(Boolean).join(" · "),
    ]);
  });
}

/**
 * @param {SiteState} state
 * @param {readonly Source[]} sources
 */
function stages({ delivery }, sources) {
  const isMoving = delivery !== null && delivery.endedMs === null;
  // Stages come one after the other: what moves is the first that is not through.
  const now = delivery?.stages.find(({ images, done, failed }) => done + failed < images)?.name;
  const made = STAGES.map((name) => {
    const own = sources.filter(({ stage }) => stage === name);
    const told = delivery?.stages.find((stage) => stage.name === name);
    const images = told?.images ?? sum(own.map((source) => source.images));
    const done = `${count(told?.done ?? images)} of ${counted(images, "image")}`;
    const moves = (/** @type {Source} */ source) =>
      isMoving && name === now && bytesByNow(source) < source.bytesTotal;
    /** @type {Ribbon[]} */
    const inward = own.map((source) => ({
      ...{ from: `registry ${source.registry}`, to: `stage ${name}`, kind: name },
      ...{ bytes: source.bytesTotal, here: bytesByNow(source), moves: moves(source) },
    }));
    const through = {
      ...{ from: `stage ${name}`, to: "store", kind: name, moves: own.some(moves) },
      bytes: sum(own.map(({ bytesTotal }) => bytesTotal)),
      here: sum(own.map(bytesByNow)),
    };
    const title = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
    const lines = [done, amount(own)];
    return {
      box: box("stages", `stage ${name}`, name, title, lines, told?.failed),
      ribbons: [...inward, through],
    };
  });
  return {
    boxes: made.map((stage) => stage.box),
    ribbons: made.flatMap((stage) => stage.ribbons),
  };
}

/**
 * Store, local registry and runtime.
 *
 * @param {SiteState} state
 * @param {readonly ImageState[]} images
 */
function ends({ disk, parts, delivery }, images) {
  const held = disk && sum(Object.values(disk.use).map((part) => part.bytes));
  const address = parts.find(({ name }) => name === "registry")?.address;
  const uploads = delivery?.uploads ?? null;
  const local = images.filter((image) => image.local !== null);
  const sent = local.filter(({ upload }) => upload === "uploaded" || upload === "present");
  const asked = images.filter(({ whereabouts }) => whereabouts.runtime !== null);
  const pinned = asked.filter(({ whereabouts }) => whereabouts.runtime !== "absent");
  const store = box("store", "store", "store", "On this site", [
    held === null ? "not measured yet" : bytes(held),
    address === undefined ? "" : `served at ${address}`,
  ]);
  const registry = box(
    ...["cluster", "local", "local", "Local registry"],
    [
      uploads?.registry ?? local[0]?.local?.split("/")[0] ?? "",
      `${count(uploads?.done ?? sent.length)} of ${counted(uploads?.images ?? local.length, "image")}`,
    ],
    uploads?.failed,
  );
  const runtime = box("cluster", "runtime", "runtime", "Runtime", [
    asked.length === 0
      ? "not known what it has"
      : `${count(pinned.length)} of ${counted(asked.length, "image")}`,
  ]);
  const hasLocal = uploads !== null || local.length > 0;
  const isUploading =
    delivery?.endedMs === null && uploads !== null && uploads.done < uploads.images;
  return {
    boxes: hasLocal ? [store, registry, runtime] : [store, runtime],
    ribbons: [outward("local", local, sent, isUploading), outward("runtime", asked, pinned, false)],
  };
}

/**
 * @param {string} to
 * @param {readonly ImageState[]} all
 * @param {readonly ImageState[]} done
 * @param {boolean} moves
 * @returns {Ribbon}
 */
function outward(to, all, done, moves) {
  const size = (/** @type {readonly ImageState[]} */ images) =>
    sum(images.map(({ whereabouts }) => whereabouts.bytes ?? 0));
  return { from: "store", to, kind: to, bytes: size(all), here: size(done), moves };
}

/**
 * @param {string} column
 * @param {string} id
 * @param {string} kind
 * @param {string} title
 * @param {readonly string[]} lines
 * @param {number} [failed]
 * @returns {Box}
 */
function box(column, id, kind, title, lines, failed = 0) {
  const told = [...lines, failed > 0 ? `${count(failed)} failed` : ""].filter(Boolean);
  return { column, id, kind, title, lines: told, failed };
}

/** @param {readonly Source[]} sources */
function amount(sources) {
  const all = sum(sources.map(({ bytesTotal }) => bytesTotal));
  const here = sum(sources.map(bytesByNow));
  if (all === 0) return "";
  return here >= all ? bytes(all) : `${percent(here, all)} of ${bytes(all)}`;
}

/** @param {readonly number[]} numbers */
export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
