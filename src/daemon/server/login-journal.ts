import { type Clock, printable } from "#base";
import type { AgentJournal } from "../chronicle.ts";

/** Further failures within so long are told in one line: who guesses must not flush the journal. */
const TELL_EVERY_MS = 60_000;

/** Addresses that are counted within that time. */
const ADDRESSES_MAX = 1_000;

/** Where failed logins are written, and until when. */
export interface LoginJournalOptions {
  readonly journal: Pick<AgentJournal, "add">;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Tells the journal of logins that failed: the first at once, those of the minute after it as one sum. Names
 * are left out, for people type a password where the name belongs.
 */
export class LoginJournal {
  readonly #options: LoginJournalOptions;
  readonly #addresses = new Set<string>();
  #count = 0;
  #isWaiting = false;

  constructor(options: LoginJournalOptions) {
    this.#options = options;
  }

  /** Somebody there gave a wrong password. */
  failed(address: string): void {
    this.#count += 1;
    if (this.#addresses.size < ADDRESSES_MAX) this.#addresses.add(address);
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    void this.#tell();
  }

  async #tell(): Promise<void> {
    const { clock, signal, journal } = this.#options;
    while (this.#count > 0) {
      const count = this.#count;
      const addresses = [...this.#addresses].map((address) => printable(address));
      this.#count = 0;
      this.#addresses.clear();
      const data = { text: sentence(count, addresses), level: "warning", count };
      // A journal that can't be written keeps nobody out, and lets nobody in.
      const some = addresses.slice(0, 10);
      await journal.add("login-failed", { ...data, addresses: some }).catch(() => undefined);
      await clock.sleep(TELL_EVERY_MS, signal).catch(() => undefined);
    }
    this.#isWaiting = false;
  }
}

function sentence(count: number, addresses: readonly string[]): string {
  const [first = "an unknown address"] = addresses;
  const from = addresses.length > 1 ? `${addresses.length} addresses` : first;
  return count === 1
    ? `A login from ${from} failed`
    : `${count} logins from ${from} failed within a minute`;
}
