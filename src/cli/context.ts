import type { SiteContext, WorkerProcess } from "#site";

/** The world as a command sees it. The program's is made in `main.ts`; tests make their own. */
export interface CliContext extends SiteContext {
  /** The answer. */
  readonly out: (text: string) => void;
  /** The story: progress, warnings, errors. */
  readonly err: (text: string) => void;
  /** Whether stderr is a terminal that progress may be drawn on. */
  readonly isTerminal: boolean;
  readonly columns: () => number;
  /** Where the answer is read, when that is a terminal. */
  readonly screen?: Screen;
  /** Starts this program once more, to do a piece of an agent's work. Throws the system's error. */
  readonly startWorker: () => WorkerProcess;
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

/** A terminal, in characters; asked whenever something is drawn, for people change it. */
export interface Screen {
  readonly columns: () => number;
  readonly rows: () => number;
}

/** Exit codes of the outward contract. */
export const EXIT = { done: 0, failed: 1, refused: 2, wanting: 3, interrupted: 130 } as const;

/** One of {@link EXIT}. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];
