import { type Failure, isFailure } from "#base";
import {
  type ByteRange,
  contentTooLong,
  contentTooShort,
  type Fetcher,
  type Ingest,
  releaseChunk,
} from "#content";
import type { Descriptor } from "#oci";

/** A connection that brought so much was worth it: the next one is opened at once. */
export const PROGRESS_BYTES: number = 64 * 1024;

/** What filling an ingest needs to know, and who wants to hear of it. */
export interface Filling {
  readonly blob: Descriptor;
  readonly ingest: Ingest;
  readonly fetcher: Fetcher;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
  /** A connection broke after progress, and the next one asks from `offsetBytes` on. */
  readonly onResume: (failure: Failure, offsetBytes: number) => void;
  readonly lanes: Lanes;
}

/** More connections for one blob, when there are any to be had. */
export interface Lanes {
  /** Nothing smaller than this is given to a connection of its own now, in bytes. */
  readonly rangeBytesMin: number;
  /** No more than this is asked for in one request now, in bytes. */
  readonly requestBytesMax: number;
  /** With how many connections a blob begins that is large enough for them. */
  readonly firstLanes: number;
  /** Whether one more connection would pay now, with `count` at work. */
  wantsMore(count: number): boolean;
  /** Runs a further connection if there is a place for it. */
  runSpare(task: () => Promise<void>): Promise<void> | undefined;
  /** The other side does not serve a part that ends before the end. */
  refuse(): void;
}

interface Work extends Filling {
  readonly areRangesIgnored: boolean;
  /** Whether a range was given that ends before the end. */
  arePartsServed: boolean;
}

/** A range on its way: what lies before `offset` is in the ingest. */
interface Piece {
  offset: number;
  /** Moves down when another connection takes over the tail. */
  end: number;
  /** Up to here bytes were received, if not yet taken in. */
  receivedTo: number;
  /** Up to here its connection was asked for. */
  askedTo: number;
}

/**
 * Fetches everything that an ingest is missing, over one connection or several. A connection that
 * breaks after it brought something is followed by the next, from the byte where it stopped.
 *
 * @throws {Failure} that of the first connection when it brought nothing; what came stays in the ingest
 */
export async function fill(filling: Filling): Promise<void> {
  const { ingest, lanes, signal } = filling;
  let waiting = ingest.missing.map(pieceOf);
  const active = new Set<Piece>();
  const further = new Set<Promise<void>>();
  const trouble = new AbortController();
  const work = {
    ...filling,
    signal: AbortSignal.any([signal, trouble.signal]),
    areRangesIgnored: false,
    arePartsServed: false,
  };
  let hasLaneFailed = false;
  let hasBegun = false;

  const run = async (piece: Piece): Promise<void> => {
    active.add(piece);
    if (!hasBegun) begin();
    try {
      await fetchPiece(piece, work, addLane);
    } finally {
      active.delete(piece);
      if (piece.offset < piece.end) waiting.unshift(piece);
      // What one connection gives back may be what joins another's to the first.
      for (let before = -1; before !== waiting.length; ) {
        before = waiting.length;
        waiting = waiting.filter((left) => !giveBack(left, active));
      }
    }
  };
  /** What ends before the end, until a part was served: see below. */
  const takeWaiting = () => {
    const isSafe = ({ end }: Piece) => work.arePartsServed || end < filling.blob.size;
    const at = waiting.findIndex(isSafe);
    return at < 0 ? undefined : waiting.splice(at, 1)[0];
  };
  const nextPiece = () => {
    const left = takeWaiting();
    if (left !== undefined) return left;
    const tail = split(active, lanes.rangeBytesMin);
    if (tail === undefined || tail.end < filling.blob.size || work.arePartsServed) return tail;
    // A range up to the end is given by whoever serves no parts as well, by sending all of it again:
    // so the first range must end before the end, or it could cost as much as the whole.
    const end = pieceOf({ start: Math.ceil((tail.offset + tail.end) / 2), end: tail.end });
    tail.end = end.offset;
    waiting.unshift(end);
    return tail;
  };
  const runFurther = async (): Promise<void> => {
    try {
      for (let next = nextPiece(); next !== undefined; next = nextPiece()) await run(next);
    } catch (error) {
      // Its range is left to the others: what is wrong with more than the range, they meet themselves.
      hasLaneFailed = true;
      if (isFailure(error, "range-ignored")) lanes.refuse();
      else if (!isFailure(error) || !error.transient) trouble.abort(error);
    }
  };
  const addLane = () => {
    if (!hasLaneFailed && lanes.wantsMore(further.size + 1)) openLane();
  };
  const openLane = () => {
    if (waiting.length === 0 && tailOf(active, lanes.rangeBytesMin) === undefined) return;
    const lane = lanes.runSpare(runFurther);
    if (lane === undefined) return;
    further.add(lane);
    void lane.finally(() => further.delete(lane));
  };
  const begin = () => {
    hasBegun = true;
    const count = lanes.firstLanes;
    for (let n = 1; n < count && isDivisible(active, lanes.rangeBytesMin); n += 1) openLane();
  };
  const runFirst = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      try {
        await run(next);
      } catch (error) {
        if (!isFailure(error, "range-ignored") || work.areRangesIgnored) throw error;
        lanes.refuse();
        work.areRangesIgnored = true;
      }
    }
  };
  try {
    for (;;) {
      await runFirst();
      if (further.size === 0) return;
      await Promise.race(further);
      work.signal.throwIfAborted();
    }
  } catch (error) {
    trouble.abort(error);
    throw error;
  } finally {
    await Promise.all(further);
  }
}

/** What a connection leaves undone goes back to the one it was taken from, if that still brings it. */
function giveBack(piece: Piece, active: ReadonlySet<Piece>): boolean {
  for (const other of active) {
    if (other.end !== piece.offset || other.askedTo < piece.end) continue;
    other.end = piece.end;
    return true;
  }
  return false;
}

function pieceOf({ start, end }: ByteRange): Piece {
  return { offset: start, end, receivedTo: start, askedTo: start };
}

/**
 * The start of the longest tail that is worth a connection of its own. What nobody asked for yet goes
 * first: a connection that loses what it was asked for must be closed, with all that is on its way.
 */
function tailOf(active: ReadonlySet<Piece>, bytesMin: number): Tail | undefined {
  const unasked = longest(active, ({ receivedTo, askedTo }) => Math.max(receivedTo, askedTo));
  if (unasked !== undefined && unasked.piece.end - unasked.start >= bytesMin) return unasked;
  const asked = longest(active, ({ receivedTo }) => receivedTo);
  if (asked === undefined || asked.piece.end - asked.start < 2 * bytesMin) return undefined;
  return asked;
}

function isDivisible(active: ReadonlySet<Piece>, bytesMin: number): boolean {
  const tail = tailOf(active, bytesMin);
  return tail !== undefined && tail.piece.end - tail.start >= 2 * bytesMin;
}

interface Tail {
  readonly piece: Piece;
  readonly start: number;
}

function longest(active: ReadonlySet<Piece>, startOf: (piece: Piece) => number): Tail | undefined {
  let best: Tail | undefined;
  for (const piece of active) {
    const start = startOf(piece);
    if (best === undefined || piece.end - start > best.piece.end - best.start)
      best = { piece, start };
  }
  return best;
}

/** Takes the second half of the longest tail, or all of it when its halves are too small. */
function split(active: ReadonlySet<Piece>, bytesMin: number): Piece | undefined {
  const tail = tailOf(active, bytesMin);
  if (tail === undefined) return undefined;
  const { piece, start } = tail;
  const isDivided = piece.end - start >= 2 * bytesMin;
  const taken = pieceOf({
    start: isDivided ? Math.ceil((start + piece.end) / 2) : start,
    end: piece.end,
  });
  piece.end = taken.offset;
  return taken;
}

/** Connection after connection, as long as each brings something. */
async function fetchPiece(piece: Piece, filling: Work, onChunk: () => void): Promise<void> {
  for (;;) {
    const before = piece.offset;
    try {
      while (piece.offset < piece.end) await stream(piece, filling, onChunk);
      return;
    } catch (error) {
      if (piece.offset >= piece.end && isFailure(error)) return;
      const hasMoved = piece.offset - before >= PROGRESS_BYTES;
      if (!hasMoved || !isFailure(error) || !error.transient) throw error;
      // A wait that the other side asked for is kept by who has the patience for it.
      if (error.retryAfterMs !== undefined) throw error;
      filling.onResume(error, piece.offset);
    }
  }
}

async function stream(piece: Piece, work: Work, onChunk: () => void): Promise<void> {
  const { blob, ingest, fetcher, signal, onBytes, lanes, areRangesIgnored } = work;
  // Where parts are not served, the end of the blob is the one end that can be asked for.
  const end = Math.min(piece.end, piece.offset + lanes.requestBytesMax);
  const range = { start: piece.offset, end: areRangesIgnored ? blob.size : end };
  const isWhole = range.start === 0 && range.end === blob.size;
  piece.receivedTo = piece.offset;
  piece.askedTo = range.end;
  const body = await fetcher.fetch(blob, isWhole ? { signal } : { signal, range });
  work.arePartsServed ||= range.end < blob.size;
  for await (const chunk of body) {
    signal.throwIfAborted();
    if (piece.offset >= piece.end) throw contentTooLong(blob);
    // The end may move while bytes are written: down when a tail is taken over, up when it comes back.
    for (let taken = 0; taken < chunk.byteLength && piece.offset < piece.end; ) {
      // At the end of the blob too much is a fault; elsewhere the rest is another connection's.
      const room = piece.end === blob.size ? chunk.byteLength : piece.end - piece.offset;
      const bytes = chunk.subarray(taken, taken + room);
      piece.receivedTo = piece.offset + bytes.byteLength;
      await ingest.write(bytes, piece.offset);
      piece.offset = piece.receivedTo;
      taken += bytes.byteLength;
      onBytes(bytes.byteLength);
    }
    releaseChunk(chunk);
    if (piece.offset >= piece.end && piece.end < range.end) return;
    onChunk();
  }
  if (piece.offset < Math.min(piece.end, range.end)) throw contentTooShort(blob, piece.offset);
}
