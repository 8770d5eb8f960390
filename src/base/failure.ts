/** What an operating failure is made of; see {@link Failure}. */
export interface FailureOptions {
  /** Stable, kebab-case name of the kind of failure; programs and the operator's pages key on it. */
  readonly code: string;
  /** What could not be done to which object, and what was found instead. No secret, no server text unescaped. */
  readonly message: string;
  /** The next command to run or edit to make. */
  readonly hint: string;
  /** True when the same attempt may succeed later without anybody changing anything. */
  readonly transient?: boolean;
  /** When the other side said how long to wait: milliseconds from now. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/**
 * Something that went wrong outside of this program: a registry, a disk, a file, a wrong password.
 *
 * A bug is never a Failure (see `assert`), and neither is a fault in what a person wrote: those are
 * collected as {@link Finding}s, because they are reported all at once.
 */
export class Failure extends Error {
  readonly code: string;
  readonly hint: string;
  readonly transient: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(options: FailureOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "Failure";
    this.code = options.code;
    this.hint = options.hint;
    this.transient = options.transient ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Tells whether an unknown thrown value is a {@link Failure}, optionally of one code. */
export function isFailure(error: unknown, code?: string): error is Failure {
  return error instanceof Failure && (code === undefined || error.code === code);
}

/** The `code` of a Node or Bun system error (`ENOSPC`, `ECONNREFUSED`), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
