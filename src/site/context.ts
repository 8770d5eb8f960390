import type { Clock } from "#base";
import type { InputFiles } from "#profile";

/** The machine that a site is on, as it is seen from here: passed in, so that tests own it. */
export interface SiteContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The user's home folder, for Docker's configuration. */
  readonly home: string;
  /** Of this program. */
  readonly version: string;
  readonly clock: Clock;
  /** A number in [0, 1). */
  readonly random: () => number;
  readonly files: InputFiles;
  /** This machine's platform in the specification's words: `linux/amd64`. */
  readonly platform: string;
}
