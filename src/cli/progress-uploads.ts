import { formatBytes, formatDuration } from "#base";
import type { DeliveryEvent, UploadFailure, UploadSummary } from "#deliver";

/** Why the local registry is waited for, as its event tells. */
type Wait = DeliveryEvent & { readonly type: "local-registry-waiting" };

/** How far the uploads are. */
export interface UploadState {
  /** Images that go to the local registry; 0 when there is nothing to show. */
  imagesTotal: number;
  /** Uploaded, or found there. */
  imagesDone: number;
  bytesTaken: number;
  waiting: Wait | undefined;
  /** Nothing more is uploaded. */
  hasFailed: boolean;
}

/** Uploads of a delivery that has not begun. */
export function createUploadState(): UploadState {
  return {
    imagesTotal: 0,
    imagesDone: 0,
    bytesTaken: 0,
    waiting: undefined,
    hasFailed: false,
  };
}

/** Takes an event in. */
export function applyUploadEvent(state: UploadState, event: DeliveryEvent): void {
  switch (event.type) {
    case "plan-started":
      state.imagesTotal = event.uploads;
      return;
    case "local-registry-waiting":
      state.waiting = event;
      return;
    case "local-registry-ready":
      state.waiting = undefined;
      return;
    case "local-registry-failed":
      state.waiting = undefined;
      state.hasFailed = true;
      return;
    case "upload-bytes":
      state.bytesTaken += event.bytes;
      return;
    case "upload-done":
      if (event.outcome === "uploaded" || event.outcome === "present") state.imagesDone += 1;
      return;
    default:
      return;
  }
}

/** `3/11 uploaded`, `34.0 MB sent`, and what it waits for; nothing when there are no uploads. */
export function uploadParts(state: UploadState): readonly string[] {
  const { imagesTotal, imagesDone, bytesTaken, waiting, hasFailed } = state;
  if (imagesTotal === 0) return [];
  return [
    `${imagesDone}/${imagesTotal} uploaded`,
    ...(bytesTaken > 0 ? [`${formatBytes(bytesTaken)} sent`] : []),
    ...(waiting === undefined
      ? []
      : [`waiting for ${waiting.registry} since ${clockTime(waiting.sinceMs)}`]),
    ...(hasFailed ? ["no more are tried"] : []),
  ];
}

/**
 * The line that stays of an event, or undefined.
 *
 * @param before the state without the event: what was said already is not said again
 */
export function uploadLine(
  event: DeliveryEvent,
  before: UploadState,
  paint: (code: number, text: string) => string,
): string | undefined {
  switch (event.type) {
    case "local-registry-waiting":
      return before.waiting !== undefined && isSameWait(before.waiting, event)
        ? undefined
        : `${paint(33, "waiting:")} ${waitText(event)}`;
    case "local-registry-ready":
      return before.waiting === undefined
        ? undefined
        : `the local registry ${event.registry} is up`;
    case "local-registry-failed":
      return `${paint(31, "failed   ")}  ${event.failure.message}`;
    case "upload-done": {
      const { outcome, image, local, failure, bytesSent, ms } = event;
      if (failure !== undefined) return `${paint(31, "failed   ")}  ${image}: ${failure.message}`;
      if (outcome !== "uploaded") return undefined;
      const cost = `${formatBytes(bytesSent)} in ${formatDuration(ms)}`;
      return `${paint(32, "uploaded ")}  ${local}, ${cost}`;
    }
    default:
      return undefined;
  }
}

/** The end of the wait is known once all is fetched; that is news too. */
function isSameWait(a: Wait, b: Wait): boolean {
  return a.message === b.message && (a.untilMs === null) === (b.untilMs === null);
}

/** `the local registry 10.0.0.5:30003, until 10:12. Cannot reach …`. */
function waitText({ registry, untilMs, message }: Wait): string {
  const until = untilMs === null ? "while images are fetched" : `until ${clockTime(untilMs)}`;
  return `the local registry ${registry}, ${until}. ${message}`;
}

/** In the time of the machine. */
function clockTime(ms: number): string {
  return new Date(ms).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}

/** The end of the story of the uploads, for eyes. */
export function uploadSummaryLines(uploads: UploadSummary | null): readonly string[] {
  if (uploads === null) return [];
  const { registry, images, uploaded, present, failed, skipped, onePlatform } = uploads;
  const { bytesSent, bytesMounted } = uploads;
  const counts = [
    `${uploaded} uploaded`,
    `${present} there already`,
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(skipped > 0 ? [`${skipped} not attempted`] : []),
    `${formatBytes(bytesSent)} sent`,
    ...(bytesMounted > 0 ? [`${formatBytes(bytesMounted)} shared with images that are there`] : []),
  ];
  const count = images === 1 ? "1 image" : `${images} images`;
  return [
    `${count} for the local registry ${registry}: ${counts.join(", ")}`,
    ...onePlatform.map((image) => `one platform only, under a digest of its own: ${image}`),
  ];
}

/** A failure with what to do next. */
export function uploadFailureLines(failure: UploadFailure): readonly string[] {
  const { image, local, message, hint, code } = failure;
  const what = image === null ? "" : `${image} (to ${local ?? ""}): `;
  return [`error: ${what}${message}`, `hint:  ${hint}`, `code:  ${code}`];
}
