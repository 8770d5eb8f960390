import { type LinkQuota, type LinkSettings, WEEK_MINUTES, windowMinutes } from "./settings.ts";

/** A span of time in which the link has one speed. Times are milliseconds since 1970. */
export interface Span {
  readonly fromMs: number;
  /** Infinity when the speed never changes. */
  readonly untilMs: number;
  /** For all transfers together: 0 outside of all windows, Infinity where there is no cap. */
  readonly bytesPerSecond: number;
}

/** When the link is open, and how fast. */
export interface Timetable {
  /** The span that a time lies in, from that time on. */
  spanAt(timeMs: number): Span;
  /**
   * How long a number of bytes takes from a time on, waits for windows included, in milliseconds.
   * `lineBytesPerSecond` is what the line itself can do: without a cap either, only waits count.
   * Infinity for more than ten years.
   */
  timeFor(bytes: number, fromMs: number, lineBytesPerSecond?: number): number;
}

/** From one renewal of a quota to the next, in milliseconds since 1970. */
export interface Period {
  readonly startMs: number;
  readonly endMs: number;
}

const MINUTE_MS = 60_000;
const HORIZON_MS = 3650 * 24 * 60 * MINUTE_MS;

/**
 * The timetable of a link. A window is open whenever the clock on the wall reads a time in it: where
 * daylight saving skips an hour, a window in that hour does not open that day, and where an hour
 * comes twice, it opens twice.
 */
export function createTimetable(settings: LinkSettings, timeZone: string): Timetable {
  const speeds = speedsOfWeek(settings);
  const spanAt = (timeMs: number): Span => {
    const wall = wallMinute(timeMs, timeZone);
    const bytesPerSecond = speeds[wall.minuteOfWeek] ?? 0;
    const untilMs = nextChange(speeds, timeMs, timeZone);
    return { fromMs: timeMs, untilMs, bytesPerSecond };
  };
  return {
    spanAt,
    timeFor(bytes, fromMs, lineBytesPerSecond = Number.POSITIVE_INFINITY) {
      let atMs = fromMs;
      let leftBytes = bytes;
      while (leftBytes > 0) {
        const span = spanAt(atMs);
        const bytesPerSecond = Math.min(span.bytesPerSecond, lineBytesPerSecond);
        const doneMs = atMs + (leftBytes / bytesPerSecond) * 1000;
        if (doneMs <= span.untilMs) return doneMs - fromMs;
        if (span.untilMs - fromMs > HORIZON_MS) return Number.POSITIVE_INFINITY;
        leftBytes -= (bytesPerSecond * (span.untilMs - atMs)) / 1000;
        atMs = span.untilMs;
      }
      return atMs - fromMs;
    },
  };
}

/** The period of a quota that a time lies in. */
export function periodAt({ resetDay }: LinkQuota, timeMs: number, timeZone: string): Period {
  const month = zoned(timeMs, timeZone).toPlainDate().toPlainYearMonth();
  const renewalMs = (months: number) => {
    const date = month.add({ months }).toPlainDate({ day: resetDay });
    return date.toZonedDateTime(timeZone).epochMilliseconds;
  };
  const thisMs = renewalMs(0);
  return timeMs < thisMs
    ? { startMs: renewalMs(-1), endMs: thisMs }
    : { startMs: thisMs, endMs: renewalMs(1) };
}

/** Bytes per second for each minute of the week. */
function speedsOfWeek({ bytesPerSecond, windows }: LinkSettings): readonly number[] {
  const cap = bytesPerSecond ?? Number.POSITIVE_INFINITY;
  if (windows === undefined) return Array.from({ length: WEEK_MINUTES }, () => cap);
  const speeds = Array.from({ length: WEEK_MINUTES }, () => 0);
  for (const window of windows) {
    const speed = Math.min(cap, window.bytesPerSecond ?? cap);
    for (const minute of windowMinutes(window)) speeds[minute] = speed;
  }
  return speeds;
}

/** When the speed is next another one. The wall clock goes on evenly, but for the changes of its zone. */
function nextChange(speeds: readonly number[], timeMs: number, timeZone: string): number {
  if (speeds.every((speed) => speed === speeds[0])) return Number.POSITIVE_INFINITY;
  const { minuteOfWeek, startedMs } = wallMinute(timeMs, timeZone);
  const speed = speeds[minuteOfWeek];
  let ahead = 1;
  while (speeds[(minuteOfWeek + ahead) % WEEK_MINUTES] === speed) ahead += 1;
  const changeMs = startedMs + ahead * MINUTE_MS;
  const jumpMs = zoned(timeMs, timeZone).getTimeZoneTransition("next")?.epochMilliseconds;
  if (jumpMs === undefined || jumpMs > changeMs) return changeMs;
  const isOther = speeds[wallMinute(jumpMs, timeZone).minuteOfWeek] !== speed;
  return isOther ? jumpMs : nextChange(speeds, jumpMs, timeZone);
}

/** What the clock on the wall reads, and when it began to read so. */
function wallMinute(timeMs: number, timeZone: string) {
  const { dayOfWeek, hour, minute, second, millisecond } = zoned(timeMs, timeZone);
  return {
    minuteOfWeek: ((dayOfWeek - 1) * 24 + hour) * 60 + minute,
    startedMs: Math.floor(timeMs) - second * 1000 - millisecond,
  };
}

function zoned(timeMs: number, timeZone: string): Temporal.ZonedDateTime {
  return Temporal.Instant.fromEpochMilliseconds(Math.floor(timeMs)).toZonedDateTimeISO(timeZone);
}
