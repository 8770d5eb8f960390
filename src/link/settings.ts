/** Minutes of a week, from Monday 00:00. */
export const WEEK_MINUTES: number = 7 * 24 * 60;

const DAY_MINUTES = 24 * 60;

/** Hours of some days in which transfers run, by the clock on the wall. */
export interface LinkWindow {
  /** The days on which the window begins: 1 is Monday, 7 is Sunday. */
  readonly days: readonly number[];
  /** Minute of the day at which it begins, below 1440. */
  readonly fromMinute: number;
  /** Minute at which it ends, up to 1440; on the next day when it is not after `fromMinute`. */
  readonly toMinute: number;
  /** Undefined: as fast as the link's own cap allows. */
  readonly bytesPerSecond: number | undefined;
}

/** How many bytes may cross the link from one reset day to the next. */
export interface LinkQuota {
  readonly bytes: number;
  /** Day of the month, 1 to 31, on which it renews at midnight; the last day in a shorter month. */
  readonly resetDay: number;
}

/** What a site says about its uplink. */
export interface LinkSettings {
  /** For all transfers together, at any time; undefined: no cap. */
  readonly bytesPerSecond: number | undefined;
  /** Undefined: transfers run at any time. Where windows overlap, their speeds are the same. */
  readonly windows: readonly LinkWindow[] | undefined;
  /** The IANA name of the zone in which windows and the quota are meant; undefined: the machine's. */
  readonly timeZone: string | undefined;
  readonly quota: LinkQuota | undefined;
}

/** A link that costs nothing and is always open. */
export const UNLIMITED_LINK: LinkSettings = {
  bytesPerSecond: undefined,
  windows: undefined,
  timeZone: undefined,
  quota: undefined,
};

/** The minutes of the week, from Monday 00:00, in which a window is open. Sunday's night is Monday's morning. */
export function windowMinutes({ days, fromMinute, toMinute }: LinkWindow): readonly number[] {
  const length =
    toMinute > fromMinute ? toMinute - fromMinute : toMinute - fromMinute + DAY_MINUTES;
  return days.flatMap((day) => {
    const start = (day - 1) * DAY_MINUTES + fromMinute;
    return Array.from({ length }, (_, i) => (start + i) % WEEK_MINUTES);
  });
}
