import { Failure } from "#base";

/** What a person typed can't be used; the exit code is that of usage. */
export function usage(message: string, hint: string): Failure {
  return new Failure({ code: "usage", message, hint });
}
