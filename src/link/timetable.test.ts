import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type LinkSettings, type LinkWindow, UNLIMITED_LINK } from "./settings.ts";
import { createTimetable, periodAt, type Span } from "./timetable.ts";

const BERLIN = "Europe/Berlin";
const DAILY = [1, 2, 3, 4, 5, 6, 7];
const HOUR_MS = 3_600_000;

function at(wall: string): number {
  return Temporal.PlainDateTime.from(wall).toZonedDateTime(BERLIN).epochMilliseconds;
}

/** A window from texts like `22:00`. */
function window(days: readonly number[], from: string, to: string, rate?: number): LinkWindow {
  const minute = (text: string) => Number(text.slice(0, 2)) * 60 + Number(text.slice(3));
  return { days, fromMinute: minute(from), toMinute: minute(to), bytesPerSecond: rate };
}

function timetable(windows: readonly LinkWindow[] | undefined, bytesPerSecond?: number) {
  return createTimetable({ ...UNLIMITED_LINK, windows, bytesPerSecond }, BERLIN);
}

/** All spans that begin in a stretch of time, as `2026-03-29T02:00+01:00 5`. */
function spans(windows: readonly LinkWindow[], fromMs: number, toMs: number): string[] {
  const table = timetable(windows);
  const list: string[] = [];
  for (
    let span: Span = table.spanAt(fromMs);
    span.fromMs < toMs;
    span = table.spanAt(span.untilMs)
  ) {
    const zoned = Temporal.Instant.fromEpochMilliseconds(span.fromMs).toZonedDateTimeISO(BERLIN);
    const shown = zoned.toString({ smallestUnit: "minute", timeZoneName: "never" });
    list.push(`${shown} ${span.bytesPerSecond}`);
  }
  return list;
}

describe("createTimetable()", () => {
  test("knows a link without windows as one span", () => {
    const never = { fromMs: 5, untilMs: Infinity };
    expect(timetable(undefined).spanAt(5)).toEqual({ ...never, bytesPerSecond: Infinity });
    expect(timetable(undefined, 7).spanAt(5)).toEqual({ ...never, bytesPerSecond: 7 });
    const whole = [window(DAILY, "00:00", "24:00", 9)];
    expect(timetable(whole, 7).spanAt(5)).toEqual({ ...never, bytesPerSecond: 7 });
    expect(timetable(whole, 70).spanAt(5)).toEqual({ ...never, bytesPerSecond: 9 });
  });

  test("opens a window over midnight on the evening of its day, also from Sunday to Monday", () => {
    // 2026-01-03 is a Saturday.
    const list = spans(
      [window([6, 7], "22:00", "06:00", 1)],
      at("2026-01-03T00:00"),
      at("2026-01-06"),
    );
    expect(list).toEqual([
      "2026-01-03T00:00+01:00 0",
      "2026-01-03T22:00+01:00 1",
      "2026-01-04T06:00+01:00 0",
      "2026-01-04T22:00+01:00 1",
      "2026-01-05T06:00+01:00 0",
    ]);
  });

  test("joins windows that follow each other at one speed", () => {
    const windows = [window(DAILY, "20:00", "24:00", 1), window(DAILY, "00:00", "04:00", 1)];
    expect(spans(windows, at("2026-01-03T12:00"), at("2026-01-04T12:00"))).toEqual([
      "2026-01-03T12:00+01:00 0",
      "2026-01-03T20:00+01:00 1",
      "2026-01-04T04:00+01:00 0",
    ]);
  });

  test("keeps to the clock on the wall when it is put forward, and back", () => {
    const windows = [window(DAILY, "22:00", "06:00", 1)];
    expect(spans(windows, at("2026-03-28T22:00"), at("2026-03-29T07:00"))).toEqual([
      "2026-03-28T22:00+01:00 1",
      "2026-03-29T06:00+02:00 0",
    ]);
    expect(spans(windows, at("2026-10-24T22:00"), at("2026-10-25T07:00"))).toEqual([
      "2026-10-24T22:00+02:00 1",
      "2026-10-25T06:00+01:00 0",
    ]);
  });

  test("skips a window in the hour that is skipped, and opens twice in the one that comes twice", () => {
    const windows = [window(DAILY, "02:15", "02:45", 1)];
    expect(spans(windows, at("2026-03-28T12:00"), at("2026-03-30T02:00"))).toEqual([
      "2026-03-28T12:00+01:00 0",
    ]);
    expect(spans(windows, at("2026-10-25T00:00"), at("2026-10-25T12:00"))).toEqual([
      "2026-10-25T00:00+02:00 0",
      "2026-10-25T02:15+02:00 1",
      "2026-10-25T02:45+02:00 0",
      "2026-10-25T02:15+01:00 1",
      "2026-10-25T02:45+01:00 0",
    ]);
  });

  test("begins a window that the skipped hour swallows the start of when the clock jumps", () => {
    expect(
      spans([window(DAILY, "02:30", "04:00", 1)], at("2026-03-29T00:00"), at("2026-03-29T12:00")),
    ).toEqual(["2026-03-29T00:00+01:00 0", "2026-03-29T03:00+02:00 1", "2026-03-29T04:00+02:00 0"]);
    expect(
      spans([window(DAILY, "01:00", "02:30", 1)], at("2026-03-29T00:00"), at("2026-03-29T12:00")),
    ).toEqual(["2026-03-29T00:00+01:00 0", "2026-03-29T01:00+01:00 1", "2026-03-29T03:00+02:00 0"]);
  });

  test("says for every minute what the clock on the wall says, in zones with odd changes", () => {
    const zones = fc.constantFrom(
      BERLIN,
      "America/St_Johns",
      "Australia/Lord_Howe",
      "Asia/Kathmandu",
      "Africa/Casablanca",
    );
    const windows = fc.array(
      fc.record({
        days: fc.subarray(DAILY, { minLength: 1 }),
        fromMinute: fc.integer({ min: 0, max: 1439 }),
        length: fc.integer({ min: 1, max: 1440 }),
      }),
      { minLength: 1, maxLength: 3 },
    );
    const start = fc.integer({ min: Date.UTC(2026, 0, 1), max: Date.UTC(2027, 0, 1) });
    fc.assert(
      fc.property(zones, windows, start, (timeZone, sketch, startMs) => {
        const list = sketch.map(({ days, fromMinute, length }): LinkWindow => {
          const toMinute = ((fromMinute + length - 1) % 1440) + 1;
          return { days, fromMinute, toMinute, bytesPerSecond: 1 };
        });
        const table = createTimetable({ ...UNLIMITED_LINK, windows: list }, timeZone);
        let span = table.spanAt(startMs);
        for (let timeMs = startMs; timeMs < startMs + 72 * HOUR_MS; timeMs += 7 * 60_000 + 13_337) {
          while (timeMs >= span.untilMs) {
            const next = table.spanAt(span.untilMs);
            expect(next.bytesPerSecond).not.toBe(span.bytesPerSecond);
            span = next;
          }
          expect(span.bytesPerSecond > 0).toBe(isOpen(list, timeMs, timeZone));
        }
      }),
      { numRuns: 50 },
    );
  });
});

/** Whether a window is open, told from the wall clock and nothing else. */
function isOpen(windows: readonly LinkWindow[], timeMs: number, timeZone: string): boolean {
  const { dayOfWeek, hour, minute } =
    Temporal.Instant.fromEpochMilliseconds(timeMs).toZonedDateTimeISO(timeZone);
  const now = hour * 60 + minute;
  const yesterday = dayOfWeek === 1 ? 7 : dayOfWeek - 1;
  return windows.some(({ days, fromMinute, toMinute }) => {
    return fromMinute < toMinute
      ? days.includes(dayOfWeek) && now >= fromMinute && now < toMinute
      : (days.includes(dayOfWeek) && now >= fromMinute) ||
          (days.includes(yesterday) && now < toMinute);
  });
}

describe("timeFor()", () => {
  const settings: LinkSettings = {
    ...UNLIMITED_LINK,
    bytesPerSecond: 1_000,
    windows: [window([1, 2, 3, 4, 5], "22:00", "06:00"), window(DAILY, "06:00", "22:00", 100)],
  };
  const table = createTimetable(settings, BERLIN);

  test("adds up speeds and closed hours", () => {
    // A Monday: 10 h at the lower speed, then the night.
    expect(table.timeFor(100 * 3600 * 10, at("2026-01-05T12:00"))).toBe(10 * HOUR_MS);
    expect(table.timeFor(100 * 3600 * 10 + 1_000 * 60, at("2026-01-05T12:00"))).toBe(
      10 * HOUR_MS + 60_000,
    );
    // A Saturday night is closed.
    expect(table.timeFor(1, at("2026-01-10T23:00"))).toBe(7 * HOUR_MS + 10);
    expect(table.timeFor(0, at("2026-01-10T23:00"))).toBe(0);
  });

  test("is no faster than the line", () => {
    expect(table.timeFor(1_000, at("2026-01-05T23:00"), 500)).toBe(2_000);
    expect(table.timeFor(1_000, at("2026-01-05T23:00"), 5_000)).toBe(1_000);
    expect(timetable(undefined).timeFor(1_000, 0)).toBe(0);
    expect(timetable(undefined).timeFor(1_000, 0, 10)).toBe(100_000);
  });

  test("gives up at what takes more than ten years", () => {
    expect(table.timeFor(1e15, at("2026-01-05T23:00"))).toBe(Infinity);
  });
});

describe("periodAt()", () => {
  const period = (resetDay: number, wall: string) => {
    const { startMs, endMs } = periodAt({ bytes: 1, resetDay }, at(wall), BERLIN);
    return [startMs, endMs].map((timeMs) =>
      Temporal.Instant.fromEpochMilliseconds(timeMs)
        .toZonedDateTimeISO(BERLIN)
        .toPlainDateTime()
        .toString(),
    );
  };

  test.each([
    [1, "2026-01-31T23:59", "2026-01-01T00:00:00", "2026-02-01T00:00:00"],
    [1, "2026-02-01T00:00", "2026-02-01T00:00:00", "2026-03-01T00:00:00"],
    [15, "2026-01-14T12:00", "2025-12-15T00:00:00", "2026-01-15T00:00:00"],
    [31, "2026-02-27T12:00", "2026-01-31T00:00:00", "2026-02-28T00:00:00"],
    [31, "2026-02-28T00:00", "2026-02-28T00:00:00", "2026-03-31T00:00:00"],
    [31, "2028-02-28T12:00", "2028-01-31T00:00:00", "2028-02-29T00:00:00"],
    [30, "2026-03-29T12:00", "2026-02-28T00:00:00", "2026-03-30T00:00:00"],
  ])("renews on day %i: %s lies from %s to %s", (resetDay, wall, start, end) => {
    expect(period(resetDay, wall)).toEqual([start, end]);
  });
});
