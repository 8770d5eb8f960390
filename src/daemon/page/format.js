/**
 * Numbers, dates and times as the reader's locale writes them; words in the language of the page. Bytes
 * are decimal: a link is sold in megabits.
 */

const LANGUAGE = "en";

const UNITS = /** @type {const} */ ([
  "byte",
  "kilobyte",
  "megabyte",
  "gigabyte",
  "terabyte",
  "petabyte",
]);

/**
 * A format is made when something is written with it: all of them, made at the start, kept a slow tablet
 * (CPU slowed six times) from showing anything for a quarter of a second.
 *
 * @template T
 * @param {() => T} make
 * @returns {() => T}
 */
function lazily(make) {
  /** @type {T | undefined} */
  let made;
  return () => {
    made ??= make();
    return made;
  };
}

/** @type {Map<string, Intl.NumberFormat>} */
const numbers = new Map();

/**
 * @param {string} unit
 * @param {number} digits after the point
 * @param {string} [language] the reader's when not given
 */
function unitFormat(unit, digits, language) {
  const key = `${unit} ${digits}`;
  let format = numbers.get(key);
  if (format === undefined) {
    const precision = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    format = new Intl.NumberFormat(language, { style: "unit", unit, ...precision });
    numbers.set(key, format);
  }
  return format;
}

/**
 * @param {number} value
 * @param {string} suffix of the unit: empty or `-per-second`
 */
function scaled(value, suffix) {
  let amount = value;
  let step = 0;
  // 999.95 would be written as 1,000.0 of the smaller unit.
  while (amount >= 999.95 && step < UNITS.length - 1) {
    amount /= 1000;
    step += 1;
  }
  return unitFormat(`${UNITS[step]}${suffix}`, step < 2 ? 0 : 1).format(amount);
}

/** `12.4 MB`. @param {number} value */
export const bytes = (value) => scaled(value, "");

/** `1.2 MB/s`. @param {number} value bytes per second */
export const rate = (value) => scaled(value, "-per-second");

const whole = lazily(() => new Intl.NumberFormat());

/** `1,000`. @param {number} value */
export const count = (value) => whole().format(value);

/**
 * `1 image`, `12 images`.
 *
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export const counted = (value, one, many = `${one}s`) =>
  `${count(value)} ${value === 1 ? one : many}`;

const percentage = lazily(() => new Intl.NumberFormat(undefined, { style: "percent" }));

/**
 * Never 100 % before it is so.
 *
 * @param {number} part
 * @param {number} all
 */
export function percent(part, all) {
  if (all <= 0) return percentage().format(0);
  return percentage().format(part >= all ? 1 : Math.min(0.99, part / all));
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** As exact as it is useful: `45 sec`, `12 min`, `3 hr 10 min`, `4 days`. @param {number} ms */
export function duration(ms) {
  if (ms < 90_000)
    return unitFormat("second", 0, LANGUAGE).format(Math.max(1, Math.round(ms / 1000)));
  if (ms < 90 * MINUTE) return unitFormat("minute", 0, LANGUAGE).format(Math.round(ms / MINUTE));
  if (ms >= 2 * DAY) return unitFormat("day", 0, LANGUAGE).format(Math.round(ms / DAY));
  const minutes = Math.round(ms / MINUTE);
  const hours = unitFormat("hour", 0, LANGUAGE).format(Math.floor(minutes / 60));
  return minutes % 60 === 0
    ? hours
    : `${hours} ${unitFormat("minute", 0, LANGUAGE).format(minutes % 60)}`;
}

const relative = lazily(() => new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" }));

/**
 * `2 minutes ago`, `in 3 days`, `now`.
 *
 * @param {number} at
 * @param {number} now
 */
export function ago(at, now) {
  const ms = at - now;
  const far = Math.abs(ms);
  if (far < MINUTE) return relative().format(0, "second");
  if (far < HOUR) return relative().format(Math.round(ms / MINUTE), "minute");
  if (far < 2 * DAY) return relative().format(Math.round(ms / HOUR), "hour");
  return relative().format(Math.round(ms / DAY), "day");
}

/** @param {Intl.DateTimeFormatOptions} options */
const timeFormat = (options) => lazily(() => new Intl.DateTimeFormat(undefined, options));

const clockTime = timeFormat({ timeStyle: "short" });
const shortDay = timeFormat({ day: "numeric", month: "short" });
const dayAndTime = timeFormat({ dateStyle: "medium", timeStyle: "short" });
const exactTime = timeFormat({ dateStyle: "full", timeStyle: "long" });

/** The time of day. @param {number} at */
export const timeOfDay = (at) => clockTime().format(at);

/** Day and month. @param {number} at */
export const day = (at) => shortDay().format(at);

/** Day and time. @param {number} at */
export const moment = (at) => dayAndTime().format(at);

/** To the second, with the zone, for a tooltip. @param {number} at */
export const exactly = (at) => exactTime().format(at);

/**
 * What is on the site by now: what was before, and what came since. What came in vain came twice.
 *
 * @param {{bytesTotal: number, bytesHere: number, bytesMoved: number}} delivery
 */
export const bytesByNow = ({ bytesTotal, bytesHere, bytesMoved }) =>
  Math.min(bytesTotal, bytesHere + bytesMoved);

/** `sha256:1f3ca4…`: enough to compare by eye. @param {string} digest */
export const shortDigest = (digest) => `${digest.slice(0, digest.indexOf(":") + 13)}…`;
