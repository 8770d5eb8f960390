/** What is seen of all transfers at one moment. */
export interface LinkSample {
  /** Of a clock that never jumps. */
  readonly nowMs: number;
  /** All bytes that arrived so far. */
  readonly bytesArrived: number;
  /** Connections that bring bytes. */
  readonly streams: number;
}

/**
 * Decides with how many connections a large blob is fetched from one registry, each with a range of
 * its own: 1 to begin with, one more as long as that is seen to bring more, and never more than
 * {@link LANES_MAX}. Pure: it knows what it is told.
 */
export interface LaneController {
  /** How many connections a large blob should have now. */
  readonly lanes: number;
  /** Is told often while a large blob moves. */
  observe(sample: LinkSample): void;
  /** The registry does not serve parts: from now on it is asked for none. */
  refuse(): void;
}

const LANES_MAX = 4;

/** A connection's slow start, over a satellite too, is through by then. */
const SETTLE_MS = 1_000;

/** Long enough that a rate means something on a link that loses packets. */
const MEASURE_MS = 3_000;

/**
 * Of what one more connection would bring if each brought the same. Where the line is what limits it
 * brings next to nothing, where connections are what limits nearly all.
 */
const GAIN_SHARE_MIN = 0.4;

interface Rate {
  readonly bytesPerMs: number;
  readonly streams: number;
}

/** A controller that has seen nothing of its registry. */
export function createLaneController(): LaneController {
  let lanes = 1;
  let isSettled = false;
  let begun: LinkSample | undefined;
  let isMeasuring = false;
  /** What there was before the connection that is on trial. */
  let before: Rate | undefined;

  const settleAt = (count: number) => {
    lanes = count;
    isSettled = true;
  };
  const restart = (sample: LinkSample) => {
    begun = sample;
    isMeasuring = false;
  };
  const judge = (rate: Rate) => {
    const isTrial = before !== undefined && rate.streams > before.streams;
    if (!isTrial) {
      // Nothing is on trial, or others went away meanwhile, or it found no place and is waited for.
      const isNew = before === undefined || rate.streams < before.streams;
      if (isNew) lanes = Math.min(LANES_MAX, lanes + 1);
      before = rate;
      return;
    }
    if (!isGain(before, rate)) settleAt(lanes - 1);
    else if (lanes === LANES_MAX) isSettled = true;
    else lanes += 1;
    before = rate;
  };
  return {
    get lanes() {
      return lanes;
    },
    observe(sample) {
      if (isSettled) return;
      if (begun === undefined || sample.streams !== begun.streams) return restart(sample);
      const elapsedMs = sample.nowMs - begun.nowMs;
      if (!isMeasuring && elapsedMs >= SETTLE_MS) {
        begun = sample;
        isMeasuring = true;
        return;
      }
      if (!isMeasuring || elapsedMs < MEASURE_MS) return;
      const bytes = sample.bytesArrived - begun.bytesArrived;
      judge({ bytesPerMs: bytes / elapsedMs, streams: sample.streams });
      restart(sample);
    },
    refuse: () => settleAt(1),
  };
}

function isGain(before: Rate | undefined, { bytesPerMs, streams }: Rate): boolean {
  if (before === undefined) return false;
  const ideal = streams / before.streams - 1;
  return bytesPerMs >= before.bytesPerMs * (1 + GAIN_SHARE_MIN * ideal);
}
