import { type Findings, nearest, quoted } from "#base";
import {
  type LinkQuota,
  type LinkSettings,
  type LinkWindow,
  UNLIMITED_LINK,
  windowMinutes,
} from "#link";
import type { Node } from "./document.ts";
import { readChoice, readList, readMap, readText, reportUnknownKeys } from "./reader.ts";

const LINK_KEYS = ["rate", "windows", "timeZone", "quota", "fetcher"] as const;
const WINDOW_KEYS = ["days", "from", "to", "rate"] as const;
const QUOTA_KEYS = ["bytes", "period", "resetDay"] as const;

const DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAY_WORDS = [...DAYS, "daily"];
const DAY_MINUTES = 24 * 60;

/** Bytes in a unit. Prefixes are decimal, but those with an i. */
const SIZE_UNITS: Readonly<Record<string, number>> = {
  ...{ B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 },
  ...{ KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 },
};

/** Bytes per second in a unit. */
const RATE_UNITS: Readonly<Record<string, number>> = {
  ...{ bit: 1 / 8, kbit: 125, Mbit: 125e3, Gbit: 125e6 },
  ...SIZE_UNITS,
};

/** A window and where it was written, to tell which two of them clash. */
interface PlacedWindow {
  readonly window: LinkWindow;
  readonly node: Node;
}

/** Reads `link:` of the site file but for `fetcher`. What is wrong in it is left out, and a fault. */
export function readLink(node: Node | undefined, findings: Findings): LinkSettings {
  const link = readMap(node, findings);
  if (link === undefined) return UNLIMITED_LINK;
  reportUnknownKeys(link, LINK_KEYS, findings, "fault");
  const bytesPerSecond = readRate(link.get("rate"), findings);
  return {
    bytesPerSecond,
    windows: readLinkWindows(link.get("windows"), bytesPerSecond, findings),
    timeZone: readLinkTimeZone(link.get("timeZone"), findings),
    quota: readQuota(link.get("quota"), findings),
  };
}

/** Reads a list of windows; undefined where there is none. What is wrong in it is left out, and a fault. */
export function readLinkWindows(
  node: Node | undefined,
  capBytesPerSecond: number | undefined,
  findings: Findings,
): readonly LinkWindow[] | undefined {
  if (node === undefined || node.kind === "null") return undefined;
  const items = readList(node, findings);
  if (node.kind === "list" && items.length === 0) {
    findings.fault(
      node.place,
      "link-window-empty",
      "Cannot use the windows: there is none, so the link would never be open",
      "Name a window, or leave the key out for a link that is always open",
    );
  }
  const placed = items.flatMap((item) => {
    const window = readWindow(item, capBytesPerSecond, findings);
    return window === undefined ? [] : [{ window, node: item }];
  });
  reportOverlap(placed, capBytesPerSecond, findings);
  return placed.map(({ window }) => window);
}

function readWindow(
  node: Node,
  capBytesPerSecond: number | undefined,
  findings: Findings,
): LinkWindow | undefined {
  if (node.kind === "null") reportEmptyWindow(node, "it says nothing", findings);
  if (readMap(node, findings) === undefined) return undefined;
  reportUnknownKeys(node, WINDOW_KEYS, findings, "fault");
  const days = readDays(node.get("days"), findings);
  const fromMinute = readTime(node.get("from"), 0, DAY_MINUTES - 1, findings);
  const toMinute = readTime(node.get("to"), DAY_MINUTES, DAY_MINUTES, findings);
  const bytesPerSecond = readRate(node.get("rate"), findings);
  if (days === undefined || fromMinute === undefined || toMinute === undefined) return undefined;
  if (fromMinute === toMinute) {
    return reportEmptyWindow(node, "it begins and ends at the same time", findings);
  }
  const rateNode = node.get("rate");
  if (rateNode !== undefined && (bytesPerSecond ?? 0) > (capBytesPerSecond ?? Infinity)) {
    findings.warn(
      rateNode.place,
      "link-rate-unreachable",
      `The window's rate ${quoted(rateNode.text ?? "")} is above link.rate, which holds at any time`,
      "Lower it or leave it out; for a link that is faster in this window, raise link.rate and give the other windows theirs",
    );
  }
  return { days, fromMinute, toMinute, bytesPerSecond };
}

function reportEmptyWindow(node: Node, state: string, findings: Findings): undefined {
  findings.fault(
    node.place,
    "link-window-empty",
    `Cannot use the window: ${state}, expected some time between from and to`,
    'Write a whole day as from: "00:00", to: "24:00"',
  );
  return undefined;
}

/** Every day where nothing is said. A range may go over the end of the week: `fri-mon`. */
function readDays(node: Node | undefined, findings: Findings): readonly number[] | undefined {
  if (node === undefined || node.kind === "null") return DAYS.map((_, i) => i + 1);
  const days = node.kind === "scalar" ? [node] : readList(node, findings);
  if (node.kind === "list" && days.length === 0) {
    return reportEmptyWindow(node, "its list of days is empty", findings);
  }
  const read = days.map((day) => readDay(day, findings));
  const isRead = read.length > 0 && read.every((numbers) => numbers !== undefined);
  return isRead ? [...new Set(read.flat())] : undefined;
}

function readDay(node: Node, findings: Findings): readonly number[] | undefined {
  const text = readText(node, findings) ?? "";
  if (node.kind !== "scalar" && node.kind !== "null") return undefined;
  const words = text.toLowerCase().split("-");
  if (words.length === 1 && words[0] === "daily") return DAYS.map((_, i) => i + 1);
  const [first = -1, last = first] = words.map((word) => DAYS.indexOf(word));
  if (words.length <= 2 && first >= 0 && last >= 0) {
    const length = ((last - first + DAYS.length) % DAYS.length) + 1;
    return Array.from({ length }, (_, i) => ((first + i) % DAYS.length) + 1);
  }
  const meant = words.map(
    (word) => DAYS.find((day) => word.startsWith(day)) ?? nearest(word, DAY_WORDS),
  );
  const isMeant = words.length <= 2 && meant.every((word) => word !== undefined);
  findings.fault(
    node.place,
    "link-day-invalid",
    `Cannot read the day ${quoted(text, 60)}: expected one of ${DAYS.join(", ")}, a range like mon-fri, or daily`,
    isMeant ? `Did you mean "${meant.join("-")}"?` : "Write it like mon, mon-fri or daily",
  );
  return undefined;
}

/** A minute of the day; absent is `fallback`. */
function readTime(
  node: Node | undefined,
  fallback: number,
  minuteMax: number,
  findings: Findings,
): number | undefined {
  if (node === undefined || node.kind === "null") return fallback;
  const text = readText(node, findings);
  if (text === undefined && node.kind !== "scalar") return undefined;
  const [, hour, minute] = /^(\d{1,2}):([0-5]\d)$/.exec(text ?? "") ?? [];
  const minutes = Number(hour) * 60 + Number(minute);
  if (minutes <= minuteMax) return minutes;
  findings.fault(
    node.place,
    "link-time-invalid",
    `Cannot read the time ${quoted(text ?? "", 60)}: expected hours and minutes from 00:00 to ${minuteMax < DAY_MINUTES ? "23:59" : "24:00"}`,
    minutes === DAY_MINUTES ? 'Write "00:00" of the next day' : 'Write it like "06:30" or "22:00"',
  );
  return undefined;
}

/** Two windows that are open at one time must agree on the speed: nobody could say which holds. */
function reportOverlap(
  placed: readonly PlacedWindow[],
  capBytesPerSecond: number | undefined,
  findings: Findings,
): void {
  const cap = capBytesPerSecond ?? Infinity;
  const speed = ({ window }: PlacedWindow) => Math.min(cap, window.bytesPerSecond ?? cap);
  const owners = new Map<number, PlacedWindow>();
  for (const one of placed) {
    const minutes = windowMinutes(one.window);
    const minute = minutes.find((at) => {
      const owner = owners.get(at);
      return owner !== undefined && speed(owner) !== speed(one);
    });
    const other = minute === undefined ? undefined : owners.get(minute);
    if (minute !== undefined && other !== undefined) {
      findings.fault(
        one.node.place,
        "link-window-overlap",
        `Cannot use the window: from ${formatMinute(minute)} on, the window in line ${other.node.place.line} is open too, at another rate, expected one rate at any time`,
        "End one of them where the other begins, or give both the same rate",
      );
    }
    for (const at of minutes) if (!owners.has(at)) owners.set(at, one);
  }
}

/** A minute of the week for eyes: `tue 06:30`. */
function formatMinute(minuteOfWeek: number): string {
  const pad = (n: number) => String(n).padStart(2, "0");
  const minute = minuteOfWeek % DAY_MINUTES;
  return `${DAYS[Math.floor(minuteOfWeek / DAY_MINUTES)]} ${pad(Math.floor(minute / 60))}:${pad(minute % 60)}`;
}

/** Reads the IANA name of a time zone. */
export function readLinkTimeZone(node: Node | undefined, findings: Findings): string | undefined {
  const text = readText(node, findings);
  if (node === undefined || text === undefined) return undefined;
  try {
    return new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone;
  } catch {
    const meant = nearest(text, Intl.supportedValuesOf("timeZone"));
    findings.fault(
      node.place,
      "link-time-zone-unknown",
      `Cannot use the time zone ${quoted(text, 60)}: it is not known, expected a name like "Europe/Berlin"`,
      meant === undefined
        ? "Find its name with `timedatectl list-timezones`, or leave it out for this machine's zone"
        : `Did you mean "${meant}"?`,
    );
    return undefined;
  }
}

function readQuota(node: Node | undefined, findings: Findings): LinkQuota | undefined {
  const quota = readMap(node, findings);
  if (quota === undefined) return undefined;
  reportUnknownKeys(quota, QUOTA_KEYS, findings, "fault");
  const bytesNode = quota.get("bytes");
  if (bytesNode === undefined || bytesNode.kind === "null") {
    findings.fault(
      quota.place,
      "link-quota-without-bytes",
      "Cannot use the quota: it has no bytes",
      "Set bytes to what may cross the link in a month, like 50GB",
    );
  }
  readChoice(quota.get("period"), ["month"], findings);
  const bytes = readSize(bytesNode, findings);
  const resetDay = readResetDay(quota.get("resetDay"), findings);
  return bytes === undefined || resetDay === undefined ? undefined : { bytes, resetDay };
}

function readResetDay(node: Node | undefined, findings: Findings): number | undefined {
  if (node === undefined || node.kind === "null") return 1;
  const text = readText(node, findings);
  if (text === undefined && node.kind !== "scalar") return undefined;
  const day = /^\d{1,2}$/.test(text ?? "") ? Number(text) : 0;
  if (day >= 1 && day <= 31) return day;
  findings.fault(
    node.place,
    "link-reset-day-invalid",
    `Cannot use the reset day ${quoted(text ?? "", 60)}: expected a day of the month from 1 to 31`,
    "Write the day on which the provider begins to count anew; in a shorter month it is the last day",
  );
  return undefined;
}

/** Bytes: a number, or one with a unit. */
function readSize(node: Node | undefined, findings: Findings): number | undefined {
  return readAmount(node, { ...SIZE_UNITS, "": 1 }, findings, {
    what: "size",
    expected: `bytes, or a number with ${Object.keys(SIZE_UNITS).join(", ")}`,
    remedy: "Write it like 50GB or 500MiB",
  });
}

/** Bytes per second. A bare number is refused: it does not say whether it means bits. */
function readRate(node: Node | undefined, findings: Findings): number | undefined {
  return readAmount(node, RATE_UNITS, findings, {
    what: "rate",
    expected: `a number with a unit per second: ${Object.keys(RATE_UNITS).join(", ")}`,
    remedy:
      "Write bits like 20Mbit and bytes like 2.5MB; say when nothing may run with link.windows",
  });
}

/** A positive number with a unit, in bytes; `/s` may follow a rate. */
function readAmount(
  node: Node | undefined,
  units: Readonly<Record<string, number>>,
  findings: Findings,
  { what, expected, remedy }: { what: "rate" | "size"; expected: string; remedy: string },
): number | undefined {
  const text = readText(node, findings);
  if (node === undefined || text === undefined) return undefined;
  const form =
    what === "rate" ? /^(\d+(?:\.\d+)?) ?([a-z]*)(?:\/s)?$/i : /^(\d+(?:\.\d+)?) ?([a-z]*)$/i;
  const [, digits = "", unit = ""] = form.exec(text) ?? [];
  const bytes = Math.floor(Number(digits) * (units[unit] ?? 0));
  if (bytes >= 1 && Number.isSafeInteger(bytes)) return bytes;
  findings.fault(
    node.place,
    `link-${what}-invalid`,
    `Cannot read the ${what} ${quoted(text, 60)}: expected ${expected}, and at least one byte`,
    remedy,
  );
  return undefined;
}
