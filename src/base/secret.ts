const MASK = "[secret]";
const inspect = Symbol.for("nodejs.util.inspect.custom");

/**
 * A password or token on its way from the file it was read from to the request that needs it.
 *
 * It prints, serialises and inspects as `[secret]`, so that no log, plan or error can carry it by
 * accident; only {@link Secret.reveal} gives the text.
 */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The text itself. Call it only where a request is made. */
  reveal(): string {
    return this.#text;
  }

  get isEmpty(): boolean {
    return this.#text === "";
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [inspect](): string {
    return MASK;
  }
}
