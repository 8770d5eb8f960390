import type { UplinkMinute } from "#store";
import type { UplinkSlice } from "./state.ts";

const MINUTE_MS = 60_000;

/** A week. */
const MINUTES_MAX = 7 * 24 * 60;

/** So many are drawn, whatever the time that they are of. */
const SLICES = 300;

/** Bytes over the uplink by the minute, for a week: what is older goes. */
export class UplinkHistory {
  readonly #minutes = new Map<number, UplinkMinute>();
  #unwritten = new Set<number>();

  /** With what was written of it before. */
  constructor(minutes: readonly UplinkMinute[] = []) {
    for (const each of minutes) this.#minutes.set(each.minute, each);
  }

  /** Bytes crossed at that time, with that cap in bytes per second. True when a minute ended with it. */
  add(bytes: number, atMs: number, cap: number | null): boolean {
    const minute = Math.floor(atMs / MINUTE_MS);
    const sum = this.#minutes.get(minute);
    this.#minutes.set(minute, { minute, bytes: (sum?.bytes ?? 0) + bytes, cap });
    this.#unwritten.add(minute);
    if (sum === undefined) this.#forget(minute);
    return sum === undefined && this.#unwritten.size > 1;
  }

  /** What was not written yet; it counts as written from now on. */
  takeUnwritten(): readonly UplinkMinute[] {
    const minutes = [...this.#unwritten].flatMap((minute) => this.#minutes.get(minute) ?? []);
    this.#unwritten = new Set();
    return minutes;
  }

  /** Could not be written: to be taken again. */
  putBack(minutes: readonly UplinkMinute[]): void {
    for (const { minute } of minutes) if (this.#minutes.has(minute)) this.#unwritten.add(minute);
  }

  /** Up to 300 slices of whole minutes that end with the minute of `nowMs`, oldest first. */
  slices(hours: number, nowMs: number, cap: number | null): readonly UplinkSlice[] {
    const wanted = Math.min(MINUTES_MAX, Math.max(1, Math.round(hours * 60)));
    const perSlice = Math.ceil(wanted / SLICES);
    const count = Math.ceil(wanted / perSlice);
    const end = Math.floor(nowMs / MINUTE_MS) + 1;
    return Array.from({ length: count }, (_, i) => {
      const from = end - (count - i) * perSlice;
      let bytes = 0;
      let held: number | null | undefined;
      for (let minute = from; minute < from + perSlice; minute += 1) {
        const each = this.#minutes.get(minute);
        bytes += each?.bytes ?? 0;
        held = each === undefined ? held : each.cap;
      }
      const capBytesPerSecond = held === undefined ? cap : held;
      return { atMs: from * MINUTE_MS, ms: perSlice * MINUTE_MS, bytes, capBytesPerSecond };
    });
  }

  #forget(newest: number): void {
    for (const minute of this.#minutes.keys()) {
      // In the order of writing; a minute of a clock that was ahead goes with the others of its time.
      if (this.#minutes.size <= MINUTES_MAX && minute > newest - MINUTES_MAX) break;
      this.#minutes.delete(minute);
      this.#unwritten.delete(minute);
    }
  }
}
