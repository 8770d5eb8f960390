import type { DeliveryEvent } from "#deliver";
import type { ToldFailure } from "./told-failure.ts";
import type { WorkKind, WorkKinds, WorkOrder } from "./work.ts";

/** A line that the agent writes to a process that works for it. The first is the order. */
export type ToWorker =
  | { readonly type: "order"; readonly order: WorkOrder }
  /** End at a durable point, soon. */
  | { readonly type: "stop" };

/** A line that a process writes that works for an agent. The last is one of {@link LastWord}. */
export type FromWorker =
  | { readonly type: "event"; readonly event: DeliveryEvent }
  | { readonly type: "news"; readonly text: string }
  | { readonly type: "trouble"; readonly failure: ToldFailure }
  | LastWord;

/** What a piece of work came to. */
export type LastWord =
  | { readonly type: "done"; readonly result: WorkKinds[WorkKind]["result"] }
  /** What the world did. */
  | { readonly type: "failed"; readonly failure: ToldFailure }
  /** It was told to, by the agent or by a signal, and came to nothing. */
  | { readonly type: "stopped" }
  /** What is a fault of this program. */
  | { readonly type: "broken"; readonly message: string; readonly stack: string };

/**
 * How bytes are written in JSON: an object with this key alone, and the bytes in base64. Another object
 * that has this key alone is written with its value in an array.
 */
const BYTES = "$bytes";

/**
 * Characters of a line. All the files of a site that is as large as its limits let it be are a few hundred
 * million; what is longer is no message, but a fault that would take the memory of the reader.
 */
const LINE_MAX = 2 ** 29;

/** A message as a line of JSON, with its end. It may hold bytes. */
export function writeLine(message: ToWorker | FromWorker): string {
  return `${JSON.stringify(message, replaceBytes)}\n`;
}

/**
 * A message out of its line. Both ends are this program: nothing else is expected.
 *
 * @throws {SyntaxError} for what is no JSON
 */
export function readLine<T extends ToWorker | FromWorker>(line: string): T {
  // To look at every value costs much, and events come by the thousand.
  return JSON.parse(line, line.includes(`{"${BYTES}":`) ? reviveBytes : undefined) as T;
}

/**
 * The lines of a stream of bytes; what has no end is none.
 *
 * @param most characters of a line
 * @throws {RangeError} for one that is longer
 */
export async function* linesOf(
  stream: AsyncIterable<Uint8Array>,
  most = LINE_MAX,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  let length = 0;
  for await (const chunk of stream) {
    const [first = "", ...more] = decoder.decode(chunk, { stream: true }).split("\n");
    pieces.push(first);
    length += first.length;
    for (const next of more) {
      yield pieces.join("");
      pieces = [next];
      length = next.length;
    }
    if (length > most) throw new RangeError(`a line of more than ${most} characters`);
  }
}

// Of a Buffer the replacer gets what its toJSON made of it; the value itself is with its holder.
function replaceBytes(
  this: Readonly<Record<string, unknown>>,
  key: string,
  value: unknown,
): unknown {
  const held = this[key];
  if (held instanceof Uint8Array) return { [BYTES]: Buffer.from(held).toString("base64") };
  return isMarked(value) ? { [BYTES]: [value[BYTES]] } : value;
}

function reviveBytes(_: string, value: unknown): unknown {
  if (!isMarked(value)) return value;
  const { [BYTES]: marked } = value;
  if (Array.isArray(marked)) return { [BYTES]: marked[0] };
  return new Uint8Array(Buffer.from(String(marked), "base64"));
}

function isMarked(value: unknown): value is { readonly [BYTES]: unknown } {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const keys = Object.keys(value);
  return keys.length === 1 && keys[0] === BYTES;
}
