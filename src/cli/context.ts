import type { Clock } from "#base";
import type { InputFiles } from "#profile";

/** The world as a command sees it. The program's is made in `main.ts`; tests make their own. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The user's home folder, for Docker's configuration. */
  readonly home: string;
  readonly version: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly files: InputFiles;
  /** This machine's platform in the specification's words: `linux/amd64`. */
  readonly platform: string;
  /** The answer. */
  readonly out: (text: string) => void;
  /** The story: progress, warnings, errors. */
  readonly err: (text: string) => void;
  /** Whether stderr is a terminal that progress may be drawn on. */
  readonly isTerminal: boolean;
  readonly columns: () => number;
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/** Exit codes of the outward contract. */
export const EXIT = { done: 0, failed: 1, refused: 2, wanting: 3, interrupted: 130 } as const;

/** One of {@link EXIT}. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
