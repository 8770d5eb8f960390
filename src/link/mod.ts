/**
 * The uplink as a budget: a cap for all transfers together, windows of the day, a quota a month.
 *
 * Pure: clock and ledger are passed in. It knows bytes, and nothing of images or connections.
 *
 * @module
 */
export { Link, type LinkOptions, type LinkWait, openLink } from "./link.ts";
export { type Ledger, type LedgerRecord, type QuotaLeft, RESERVE_BYTES_MIN } from "./quota.ts";
export {
  type LinkQuota,
  type LinkSettings,
  type LinkWindow,
  UNLIMITED_LINK,
  windowMinutes,
} from "./settings.ts";
export { createTimetable, type Span, type Timetable } from "./timetable.ts";
