import { formatBytes, formatDuration, printable } from "#base";
import type { DeliveryState, RevisionState, SiteState } from "#daemon";
import { machineTimeZone } from "#site";
import type { CliContext } from "./context.ts";
import { type Paint, paintAnsi, paintNothing, wrap } from "./screen-text.ts";

/** How a state is shown. */
export interface StatusView {
  /** Width in characters. */
  readonly columns: number;
  readonly paint: Paint;
  /** The moment that ages are told for, by the agent's clock: milliseconds since 1970. */
  readonly nowMs: number;
  /** IANA name of the zone in which times of the day are told. */
  readonly timeZone: string;
}

/** The view of where the answer is read, at a moment of the agent's clock. */
export function viewOf(nowMs: number, { screen, env }: CliContext): StatusView {
  const hasColor = screen !== undefined && (env["NO_COLOR"] ?? "") === "";
  return {
    columns: screen?.columns() ?? COLUMNS_DEFAULT,
    paint: hasColor ? paintAnsi : paintNothing,
    nowMs,
    timeZone: machineTimeZone(env),
  };
}

/** Column in which the texts begin. */
const LABEL_WIDTH = 13;

/** Where the answer goes to a file or a program. */
const COLUMNS_DEFAULT = 100;

/** Narrower than this nothing can be read; a terminal wraps it then. */
const COLUMNS_MIN = 40;

/** Wider lines are hard to read. */
const COLUMNS_MAX = 120;

/** Of warnings, faults and missing images; `-o json` has all of them. */
const LISTED_MAX = 5;

/** Code units of one text of the agent. */
const TEXT_MAX = 600;

type Color = Parameters<Paint>[0];

/** A label with its lines; a text may have a colour, which the words repeat. */
interface Row {
  readonly label: string;
  readonly lines: readonly (string | readonly [color: Color, text: string])[];
}

const LEVEL_COLORS: Readonly<Record<SiteState["verdict"]["level"], Color>> = {
  ready: "good",
  working: "busy",
  waiting: "warn",
  wanting: "bad",
  failed: "bad",
};

/** The state of a site as lines without line breaks: its verdict first, then what it comes from. */
export function statusLines(state: SiteState, view: StatusView): readonly string[] {
  const width = Math.min(COLUMNS_MAX, Math.max(COLUMNS_MIN, view.columns)) - 1;
  const { level, sentence, remedy } = state.verdict;
  const verdict: Row = {
    label: level.toUpperCase(),
    lines: [["bold", text(sentence)], ...(remedy === null ? [] : [`do: ${text(remedy)}`])],
  };
  const rows = [
    ...refusedRows(state),
    ...warningRows(state),
    siteRow(state, view),
    ...revisionRows(state, view),
    nowRow(state, view),
    ...deliveryRows(state, view),
    ...activationRows(state, view),
    proofRow(state, view),
    ...linkRows(state, view),
    ...diskRows(state),
    ...credentialRows(state),
    ...partRows(state, view),
  ];
  return [
    ...rowLines(verdict, width, view.paint, LEVEL_COLORS[level]),
    "",
    ...rows.flatMap((row) => rowLines(row, width, view.paint, "dim")),
  ];
}

function rowLines(row: Row, width: number, paint: Paint, color: Color): readonly string[] {
  const lines = row.lines.flatMap((line) => {
    const [color, text] = typeof line === "string" ? [undefined, line] : line;
    return wrap(text, width - LABEL_WIDTH).map((each) =>
      color === undefined ? each : paint(color, each),
    );
  });
  const blank = " ".repeat(LABEL_WIDTH);
  const label = paint(color, row.label) + " ".repeat(LABEL_WIDTH - row.label.length);
  return lines.map((line, i) => (i === 0 ? label : blank) + line);
}

function siteRow({ host, version, startedMs }: SiteState, view: StatusView): Row {
  const since = `agent ${text(version)}, up ${ageOf(startedMs, view)}`;
  return { label: "site", lines: [`${text(host)}; ${since}`] };
}

function revisionRows(
  { active, staged, previous, wanted }: SiteState,
  view: StatusView,
): readonly Row[] {
  const row = (label: string, revision: RevisionState, what: string, atMs: number | null): Row => {
    const profiles = listed(revision.profiles.map((name) => text(name) || "(no name)"));
    const when = atMs === null ? "" : `, ${what} ${ageOf(atMs, view)} ago`;
    const line = `${text(revision.id)}  ${profiles} (${countOf(revision.images, "image")})${when}`;
    return { label, lines: [line] };
  };
  return [
    active === null
      ? { label: "active", lines: ["none"] }
      : row("active", active, "activated", active.activatedMs),
    ...(wanted ? [row("wanted", wanted, "", null)] : []),
    ...(staged === null ? [] : [row("staged", staged, "staged", staged.stagedMs)]),
    ...(previous === null ? [] : [row("previous", previous, "activated", previous.activatedMs)]),
  ];
}

function refusedRows({ refused }: SiteState): readonly Row[] {
  if (refused === null) return [];
  const { faults, source } = refused;
  const told = faults.slice(0, LISTED_MAX).flatMap(({ file, line, column, ...fault }) => {
    const at = file === "" ? "" : `${text(file)}:${line}:${column}: `;
    const told = `${at}${text(fault.message)} [${text(fault.code)}]`;
    return fault.remedy === "" ? [told] : [told, `do: ${text(fault.remedy)}`];
  });
  const head = ["bad", `${text(source)} has ${countOf(faults.length, "fault")}`] as const;
  return [{ label: "refused", lines: [head, ...told, ...moreLines(faults.length)] }];
}

function nowRow({ activity, paused }: SiteState, view: StatusView): Row {
  const { name, sinceMs, waiting } = activity;
  const lines: Row["lines"][number][] = [`${text(name)} for ${ageOf(sinceMs, view)}`];
  if (waiting !== null) {
    const until = waiting.untilMs === null ? "" : ` until ${timeOf(waiting.untilMs, view)}`;
    lines.push(["warn", `waiting${until}: ${text(waiting.reason)}`]);
  }
  if (paused !== null) {
    lines.push(["warn", `paused by ${text(paused.by)} for ${ageOf(paused.sinceMs, view)}`]);
  }
  return { label: "now", lines };
}

function deliveryRows({ delivery }: SiteState, view: StatusView): readonly Row[] {
  if (delivery === null) return [];
  const { endedMs, outcome, startedMs, bytesMoved, uploads } = delivery;
  const stages = delivery.stages
    .filter(({ images }) => images > 0)
    .map(({ name, done, images }) => `${text(name)} ${done} of ${images}`);
  const failed = delivery.stages.reduce((sum, stage) => sum + stage.failed, 0);
  const head =
    endedMs === null
      ? `under way for ${ageOf(startedMs, view)}`
      : `${text(outcome ?? "ended")} ${ageOf(endedMs, view)} ago, ${formatBytes(bytesMoved)} moved in ${formatDuration(Math.max(0, endedMs - startedMs))}`;
  const color = outcome === "failed" ? "bad" : undefined;
  const lines: Row["lines"][number][] = [
    color === undefined ? head : ([color, head] as const),
    listed([...stages]) || "no image",
    ...(endedMs === null ? [progressText(delivery)] : []),
  ];
  if (failed > 0) lines.push(["bad", `${countOf(failed, "image")} failed`]);
  if (uploads !== null) {
    const to = uploads.registry === null ? "" : ` to ${text(uploads.registry)}`;
    const wrong = uploads.failed === 0 ? "" : `, ${uploads.failed} failed`;
    lines.push(
      `uploads${to}: ${uploads.done} of ${uploads.images}, ${formatBytes(uploads.bytesSent)} sent${wrong}`,
    );
  }
  return [{ label: "delivery", lines }];
}

const BAR_WIDTH = 24;

function progressText(delivery: DeliveryState): string {
  const { bytesTotal, bytesHere, bytesMoved, bytesPerSecond, remainingMs } = delivery;
  if (bytesTotal <= 0) return "reading manifests";
  const here = Math.min(bytesTotal, bytesHere + bytesMoved);
  // Rounded down: all is said of what is all there.
  const filled = Math.max(0, Math.floor((here / bytesTotal) * BAR_WIDTH));
  const bar = `[${"#".repeat(filled)}${".".repeat(BAR_WIDTH - filled)}]`;
  const rate = bytesPerSecond === null ? [] : [`${formatBytes(Math.round(bytesPerSecond))}/s`];
  const left = remainingMs === null ? [] : [`about ${spanOf(remainingMs)} left`];
  const size = `${formatBytes(here)} of ${formatBytes(bytesTotal)}`;
  return `${bar} ${[size, ...rate, ...left].join(", ")}`;
}

function activationRows({ activation }: SiteState, view: StatusView): readonly Row[] {
  if (activation === null) return [];
  const { outcome, atMs, steps } = activation;
  const head = `${text(outcome)} ${ageOf(atMs, view)} ago`;
  const told = steps.map(({ name, outcome, text: what }) => {
    const line = `${text(name)} ${text(outcome)}: ${text(what)}`;
    return outcome === "failed" ? (["bad", line] as const) : line;
  });
  return [{ label: "activation", lines: [head, ...told] }];
}

function proofRow({ proof }: SiteState, view: StatusView): Row {
  if (proof === null) return { label: "proof", lines: ["none yet of what is active"] };
  const { held, references, at, ok } = proof;
  const line = `${held} of ${countOf(references, "reference")} held ${ageOf(at, view)} ago`;
  return { label: "proof", lines: [ok ? line : ["bad", line]] };
}

function linkRows({ link }: SiteState, view: StatusView): readonly Row[] {
  if (link === null) return [];
  const { capBytesPerSecond: cap, untilMs, quota } = link;
  const until = untilMs === null ? "" : ` until ${timeOf(untilMs, view)}`;
  const cost =
    quota === null
      ? []
      : [
          `${formatBytes(quota.usedBytes)} of the quota of ${formatBytes(quota.bytes)} used, new on ${timeOf(quota.renewsMs, view)}`,
        ];
  return [{ label: "link", lines: [`${capText(cap)}${until}`, ...cost] }];
}

function capText(cap: number | null): string {
  if (cap === null) return "no cap";
  return cap === 0 ? "shut: no window is open" : `at most ${formatBytes(Math.round(cap))}/s`;
}

function diskRows({ disk }: SiteState): readonly Row[] {
  if (disk === null) return [];
  const free = `${formatBytes(disk.freeBytes)} of ${formatBytes(disk.totalBytes)} free`;
  const use = Object.entries(disk.use)
    .filter(([, { bytes }]) => bytes > 0)
    .map(([name, { bytes }]) => `${text(name)} ${formatBytes(bytes)}`);
  return [{ label: "disk", lines: [[free, ...use].join(", ")] }];
}

function credentialRows({ credentials }: SiteState): readonly Row[] {
  if (credentials.length === 0) return [];
  const fine = credentials.filter(({ state }) => state === "ok").length;
  const others = credentials.filter(({ state }) => state !== "ok");
  const told = others.slice(0, LISTED_MAX).map(({ registry, state, why }) => {
    return [
      state === "refused" || state === "expired" ? "bad" : "warn",
      `${text(registry)} ${text(state)}: ${text(why)}`,
    ] as const;
  });
  const head = `${fine} of ${credentials.length} ok`;
  return [{ label: "credentials", lines: [head, ...told, ...moreLines(others.length)] }];
}

function partRows({ parts }: SiteState, view: StatusView): readonly Row[] {
  const running = parts.filter(({ state }) => state === "running");
  const others = parts.filter(({ state }) => state !== "running");
  const served = running.flatMap(({ name, address }) =>
    address === undefined ? [] : [`${text(name)} ${text(address)}`],
  );
  const told = others.map(({ name, state, trouble, nextMs }) => {
    const why = trouble === undefined ? "" : `: ${text(trouble.message)}`;
    const when = nextMs === undefined ? "" : `, tried again at ${timeOf(nextMs, view)}`;
    return ["bad", `${text(name)} ${text(state)}${why}${when}`] as const;
  });
  const lines = [...(served.length === 0 ? [] : [listed(served)]), ...told];
  return lines.length === 0 ? [] : [{ label: "parts", lines }];
}

function warningRows({ warnings }: SiteState): readonly Row[] {
  if (warnings.length === 0) return [];
  const told = warnings.slice(0, LISTED_MAX).flatMap(({ level, subject, code, message, hint }) => {
    const about = subject === "" || message.includes(subject) ? "" : `${text(subject)}: `;
    const line = `${level}: ${about}${text(message)} [${text(code)}]`;
    const told = [level === "error" ? "bad" : "warn", line] as const;
    return hint === "" ? [told] : [told, `do: ${text(hint)}`];
  });
  return [{ label: "warnings", lines: [...told, ...moreLines(warnings.length)] }];
}

function moreLines(count: number): readonly string[] {
  return count <= LISTED_MAX ? [] : [`and ${count - LISTED_MAX} more (dray status -o json)`];
}

function listed(texts: readonly string[]): string {
  const told = texts.slice(0, LISTED_MAX).join(", ");
  return texts.length <= LISTED_MAX ? told : `${told} and ${texts.length - LISTED_MAX} more`;
}

function countOf(count: number, what: string): string {
  return `${count} ${count === 1 ? what : `${what}s`}`;
}

/** The agent may be anybody's: what it says is escaped and bounded. */
function text(words: string): string {
  return printable(words, TEXT_MAX);
}

/** Never less than nothing, whatever was done to the clock. */
function ageOf(ms: number, { nowMs }: StatusView): string {
  return spanOf(Math.max(0, nowMs - ms));
}

/** `38 s`, `20 min`, `9 h`, `38 days`: no more exactly than anybody wants to know. */
function spanOf(ms: number): string {
  if (ms < 90_000) return `${Math.round(ms / 1_000)} s`;
  const minutes = Math.round(ms / 60_000);
  if (minutes < 90) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

/** `22:00` on the same day, else with its date. */
function timeOf(ms: number, { nowMs, timeZone }: StatusView): string {
  const at = zoned(ms, timeZone);
  const now = zoned(nowMs, timeZone);
  if (at === undefined) return "an unknown time";
  const time = at.toPlainTime().toString({ smallestUnit: "minute" });
  const isToday = now !== undefined && at.toPlainDate().equals(now.toPlainDate());
  return isToday ? time : `${at.toPlainDate()} ${time}`;
}

function zoned(ms: number, timeZone: string): Temporal.ZonedDateTime | undefined {
  try {
    return Temporal.Instant.fromEpochMilliseconds(Math.floor(ms)).toZonedDateTimeISO(timeZone);
  } catch {
    return undefined;
  }
}
