import { Failure } from "#base";

/** What a failure is, for another process of this program. */
export type ToldFailure = Pick<Failure, "code" | "message" | "hint" | "transient">;

/** A failure as it is told to another process. What caused it stays behind: it may hold anything. */
export function toldFailure({ code, message, hint, transient }: Failure): ToldFailure {
  return { code, message, hint, transient };
}

/** A failure that another process told. */
export function heardFailure(told: ToldFailure): Failure {
  return new Failure(told);
}
