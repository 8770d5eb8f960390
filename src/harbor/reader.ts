import { Failure } from "#base";

/** A JSON object of which nothing is known. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Tells a JSON object from everything else. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Reads what Harbor answered to a task: what must be there, and what may be. Fields that are not asked
 * for are passed over, so that newer Harbors may say more.
 *
 * @throws {Failure} `harbor-protocol` where something that must be there is not, or is something else
 */
export class Reader {
  readonly #object: JsonObject;
  readonly #at: string;
  readonly #context: ReadContext;

  constructor(value: unknown, context: ReadContext, at = "the answer") {
    this.#context = context;
    this.#at = at;
    if (!isObject(value)) throw this.#broken(at, "an object");
    this.#object = value;
  }

  text(name: string): string {
    const value = this.#object[name];
    if (typeof value !== "string" || value === "") throw this.#missing(name, "a text");
    return value;
  }

  number(name: string): number {
    const value = this.#object[name];
    if (typeof value !== "number" || !Number.isFinite(value)) throw this.#missing(name, "a number");
    return value;
  }

  /** Empty when it is not there: Harbor writes empty lists as null, or not at all. */
  list(name: string): readonly Reader[] {
    const value = this.#object[name] ?? [];
    if (!Array.isArray(value)) throw this.#missing(name, "a list");
    return value.map((item) => new Reader(item, this.#context, `"${name}" of ${this.#at}`));
  }

  optionalText(name: string): string | null {
    const value = this.#object[name];
    return typeof value === "string" && value !== "" ? value : null;
  }

  optionalNumber(name: string): number | null {
    const value = this.#object[name];
    return typeof value === "number" && Number.isFinite(value) ? value : null;
  }

  optionalObject(name: string): Reader | null {
    const value = this.#object[name];
    return isObject(value) ? new Reader(value, this.#context, `"${name}" of ${this.#at}`) : null;
  }

  /** Metadata of projects says yes and no by the words `true` and `false`. */
  flag(name: string): boolean {
    const value = this.#object[name];
    return value === true || value === "true";
  }

  #missing(name: string, expected: string): Failure {
    return this.#broken(`"${name}" of ${this.#at}`, expected);
  }

  #broken(what: string, expected: string): Failure {
    return protocolFailure(this.#context, `${what} is not there or something else`, expected);
  }
}

/** What was asked of whom, for messages. */
export interface ReadContext {
  /** `host:port`. */
  readonly harbor: string;
  /** `read the health of Harbor`. */
  readonly task: string;
}

/** Every object of an answer that is a list. */
export function readList(value: unknown, context: ReadContext): readonly Reader[] {
  if (value === null) return [];
  if (!Array.isArray(value)) throw protocolFailure(context, "the answer is no list", "a list");
  return value.map((item) => new Reader(item, context));
}

/** For an answer that is not what Harbor's API promises. */
export function protocolFailure(
  { harbor, task }: ReadContext,
  found: string,
  expected: string,
): Failure {
  return new Failure({
    code: "harbor-protocol",
    message: `Cannot ${task}: ${found} in what ${harbor} answered, expected ${expected}`,
    hint: `Check that ${harbor} is a Harbor 2 and that nothing in between answers in its place; for another registry write \`kind: oci\``,
  });
}
