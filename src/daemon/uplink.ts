import type { Clock } from "#base";
import type { UplinkMinute } from "#store";
import type { Chronicle } from "./chronicle.ts";
import type { UplinkSlice } from "./state.ts";
import { UplinkHistory } from "./uplink-history.ts";

/** Where the bytes over the uplink are kept, by the minute. */
export interface UplinkMinutes {
  /** @throws {Failure} what a disk does */
  read(): Promise<readonly UplinkMinute[]>;
  /** @throws {Failure} what a disk does */
  put(minutes: readonly UplinkMinute[]): Promise<void>;
}

/** What an uplink is watched with. */
export interface UplinkOptions {
  readonly minutes: UplinkMinutes;
  readonly chronicle: Pick<Chronicle, "tell">;
  readonly clock: Clock;
  /** The cap that holds, in bytes per second; null: none, or not known. */
  readonly cap: () => number | null;
}

/** The way out of the site: what crossed it, and whether it carries. */
export class Uplink {
  readonly #options: UplinkOptions;
  #history = new UplinkHistory();
  /** Undefined until something tells. */
  #isUp: boolean | undefined;

  constructor(options: UplinkOptions) {
    this.#options = options;
  }

  /** With what was written of it before. @throws {Failure} what a disk does */
  async load(): Promise<void> {
    this.#history = new UplinkHistory(await this.#options.minutes.read());
  }

  /** Bytes crossed it. True when a minute ended with them: there is something to {@link write}. */
  arrived(bytes: number): boolean {
    const { clock, cap } = this.#options;
    if (this.#isUp === false) this.carries(true);
    return this.#history.add(bytes, clock.now(), cap());
  }

  /** Whether it carries, as far as something that happened says. That it does at first is no news. */
  carries(isUp: boolean): void {
    const { chronicle } = this.#options;
    const before = this.#isUp;
    this.#isUp = isUp;
    if (before === isUp || (before === undefined && isUp)) return;
    if (isUp) chronicle.tell("uplink-back", "The uplink carries again");
    else {
      chronicle.tell("uplink-lost", "No registry answers over the uplink", { level: "warning" });
    }
  }

  /** Oldest first; see {@link UplinkHistory.slices}. */
  slices(hours: number): readonly UplinkSlice[] {
    const { clock, cap } = this.#options;
    return this.#history.slices(hours, clock.now(), cap());
  }

  /** Makes durable what crossed it. @throws {Failure} what a disk does; it is tried with the next one */
  async write(): Promise<void> {
    const minutes = this.#history.takeUnwritten();
    if (minutes.length === 0) return;
    try {
      await this.#options.minutes.put(minutes);
    } catch (thrown) {
      this.#history.putBack(minutes);
      throw thrown;
    }
  }
}
