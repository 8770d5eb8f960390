import { InvalidArgumentError } from "commander";

/** Collects the values of an option that may be repeated. */
export function append(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}

/** Bytes per second in a unit, as in `link.rate` of the site file. */
const RATE_UNITS: Readonly<Record<string, number>> = {
  ...{ "": 1, B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 },
  ...{ bit: 1 / 8, kbit: 125, Mbit: 125e3, Gbit: 125e6 },
};

/** Reads the speed of a link in bytes per second: `2500000`, `2.5MB`, `20Mbit`, `2.5MB/s`. */
export function parseRate(text: string): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?) ?([A-Za-z]*)(?:\/s)?$/.exec(text) ?? [];
  const rate = Number(number) * (RATE_UNITS[unit] ?? Number.NaN);
  if (rate > 0 && Number.isFinite(rate)) return rate;
  throw new InvalidArgumentError("Expected bytes or bits per second, e.g. 2.5MB or 20Mbit.");
}

/** A time as it was typed, when it is one of RFC 3339. */
export function parseTime(text: string): string {
  const form = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;
  if (form.test(text) && !Number.isNaN(Date.parse(text))) return text;
  throw new InvalidArgumentError("Expected a time like 2026-01-02T03:04:05Z.");
}

/** Of a hundred: above 0. */
export function parsePercent(text: string): number {
  const percent = /^\d+(\.\d+)?%?$/.test(text) ? Number.parseFloat(text) : Number.NaN;
  if (percent > 0 && percent <= 100) return percent;
  throw new InvalidArgumentError("Expected a number above 0 and up to 100.");
}

const GRACE_UNITS_MS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Milliseconds. A push may be about to name what it found a moment ago: a minute is the least. */
export function parseGrace(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([mhd])$/.exec(text) ?? [];
  const ms = Number(count) * (GRACE_UNITS_MS[unit] ?? Number.NaN);
  if (ms >= 60_000) return ms;
  throw new InvalidArgumentError("Expected a time of at least 1m, e.g. 15m, 1h or 7d.");
}

const WAIT_UNITS_MS: Readonly<Record<string, number>> = { s: 1_000, ...GRACE_UNITS_MS };

/** Milliseconds. Without a unit it is seconds, as in the site file. */
export function parseWait(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,6})([smhd]?)$/.exec(text) ?? [];
  const ms = Number(count) * (WAIT_UNITS_MS[unit || "s"] ?? Number.NaN);
  if (count !== "") return ms;
  throw new InvalidArgumentError("Expected a time, e.g. 90s, 10m or 2h; 0 asks once.");
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  ...{ "": 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 },
  ...{ ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30, ti: 2 ** 40 },
};

/** Bytes. */
export function parseSize(text: string): number {
  const [, count = "", unit = ""] = /^(\d{1,9}(?:\.\d+)?)([kmgt]?i?)b?$/i.exec(text) ?? [];
  const bytes = Number(count || Number.NaN) * (SIZE_UNITS[unit.toLowerCase()] ?? Number.NaN);
  if (bytes >= 1) return Math.floor(bytes);
  throw new InvalidArgumentError("Expected a size, e.g. 500MB or 20GiB.");
}

/** A whole number from 1 on. */
export function parseLines(text: string): number {
  const lines = /^\d{1,12}$/.test(text) ? Number(text) : 0;
  if (lines >= 1) return lines;
  throw new InvalidArgumentError("Expected a whole number from 1 on.");
}
