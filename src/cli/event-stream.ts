/** One event of a stream, as it was sent. */
export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

/** Code units of an event at most: a state with its faults and warnings has a few hundred thousand. */
export const EVENT_TEXT_MAX: number = 16 * 1024 * 1024;

/**
 * Reads server-sent events from text that arrives in pieces of any size (HTML Living Standard, 9.2.6).
 * Comments are left out, and so are `id` and `retry`: who follows an agent begins with its whole state.
 */
export class EventStreamReader {
  #line = "";
  #event = "";
  #data: string[] = [];
  #length = 0;
  #endedByReturn = false;

  /** The events that the piece completes. @throws {RangeError} for one longer than {@link EVENT_TEXT_MAX} */
  push(piece: string): readonly StreamEvent[] {
    const events: StreamEvent[] = [];
    // A line may end with CR LF, and the two may come in two pieces.
    const text = this.#endedByReturn && piece.startsWith("\n") ? piece.slice(1) : piece;
    if (piece !== "") this.#endedByReturn = piece.endsWith("\r");
    const lines = text.split(/\r\n|\n|\r/);
    const rest = lines.pop() ?? "";
    for (const line of lines) {
      const event = this.#take(this.#line + line);
      this.#line = "";
      if (event !== undefined) events.push(event);
    }
    this.#line += rest;
    this.#requireBounded(this.#line.length);
    return events;
  }

  #take(line: string): StreamEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    if (field === "data") {
      this.#length += value.length;
      this.#requireBounded(0);
      this.#data.push(value);
    }
    return undefined;
  }

  #dispatch(): StreamEvent | undefined {
    const [event, data] = [this.#event || "message", this.#data];
    this.#event = "";
    this.#data = [];
    this.#length = 0;
    return data.length === 0 ? undefined : { event, data: data.join("\n") };
  }

  #requireBounded(more: number): void {
    if (this.#length + more > EVENT_TEXT_MAX) throw new RangeError("an event is too long");
  }
}
