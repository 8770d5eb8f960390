import { formatBytes } from "#base";
import { archiveBroken, archiveTooLarge, archiveUnsupported } from "./failure.ts";

/** How the bytes of an archive are packed. */
export type Compression = "none" | "gzip" | "zstd";

/** What unpacking an archive may come to. */
export interface UnpackLimits {
  /** Bytes of the unpacked archive. */
  readonly bytesMax: number;
  /**
   * How many bytes may come of one. Asked only of archives that come to more than
   * {@link RATIO_MATTERS_BYTES}: small ones of zeros are no harm.
   */
  readonly ratioMax: number;
}

/**
 * Gzip can't pack tighter than 1032 to 1, and a root file system comes to 2 or 3. Zstd packs zeros
 * thirty thousand to 1, which no honest archive needs.
 */
export const DEFAULT_LIMITS: UnpackLimits = { bytesMax: 64 * 1024 ** 3, ratioMax: 1100 };

/** Below this no archive is taken for a bomb. */
export const RATIO_MATTERS_BYTES: number = 256 * 1024 * 1024;

/** In larger pieces the decoder's own pieces grow too, and it gets slower (measured). */
const INPUT_BYTES = 64 * 1024;

interface Magic {
  readonly name: string;
  readonly bytes: readonly number[];
  readonly mask?: readonly number[];
}

/** RFC 1952 section 2.3.1; RFC 8878 sections 3.1.1 and 3.1.2; what is known and not read here. */
const MAGICS: readonly Magic[] = [
  { name: "gzip", bytes: [0x1f, 0x8b] },
  { name: "zstd", bytes: [0x28, 0xb5, 0x2f, 0xfd] },
  { name: "zstd", bytes: [0x50, 0x2a, 0x4d, 0x18], mask: [0xf0, 0xff, 0xff, 0xff] },
  { name: "xz", bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a] },
  { name: "bzip2", bytes: [0x42, 0x5a, 0x68] },
  { name: "lz4", bytes: [0x04, 0x22, 0x4d, 0x18] },
];

const MAGIC_BYTES_MAX = 5;

/** What the first bytes say, whatever a name or a media type does. @throws {Failure} `archive-unsupported` */
export function compressionOf(start: Uint8Array): Compression {
  const found = MAGICS.find(({ bytes, mask }) =>
    bytes.every((byte, i) => ((start[i] ?? -1) & (mask?.[i] ?? 0xff)) === byte),
  );
  if (found === undefined) return "none";
  if (found.name === "gzip" || found.name === "zstd") return found.name;
  throw archiveUnsupported(`it is packed by ${found.name}`, "gzip, zstd or a plain tar");
}

/**
 * Unpacks a stream as its first bytes say it is packed: gzip of one or many members, zstd of one or
 * many frames, or not at all. Nothing is held but a few chunks, and an archive made to fill a disk is
 * found before it has.
 *
 * @param source a chunk is done with when the next one is asked for
 * @throws {Failure} `archive-broken` when it is damaged or ends early; `archive-too-large`,
 *   `archive-unsupported`; and what the source throws
 */
export async function* decompress(
  source: AsyncIterable<Uint8Array>,
  limits: UnpackLimits = DEFAULT_LIMITS,
): AsyncGenerator<Uint8Array> {
  const input = new CountedInput(source);
  let bytesOut = 0;
  try {
    const compression = compressionOf(await input.peek());
    for await (const chunk of unpacked(input, compression)) {
      bytesOut += chunk.byteLength;
      requireWithin(bytesOut, input.bytesRead, limits);
      yield chunk;
    }
  } finally {
    await input.cancel();
  }
}

async function* unpacked(
  input: CountedInput,
  compression: Compression,
): AsyncGenerator<Uint8Array> {
  if (compression === "none") {
    yield* input.chunks();
    return;
  }
  // Bun's decoders know zstd too; the types of the web's standard do not say so.
  const decoder = new DecompressionStream(compression as "gzip") as unknown as ReadableWritablePair<
    Uint8Array,
    Uint8Array
  >;
  const output = input.toStream().pipeThrough(decoder).getReader();
  let bytesOut = 0;
  const next = async () => {
    try {
      return await output.read();
    } catch (error) {
      throw decoderFailure(error);
    }
  };
  const decoderFailure = (error: unknown) => {
    if (input.failure !== undefined) return input.failure;
    // Whatever else is thrown here is the decoder's: it reports damage as a plain TypeError.
    const reason = error instanceof Error ? error.message : "damaged";
    const what = `its ${compression} stream is damaged or cut off (${reason})`;
    return archiveBroken(what, bytesOut, error);
  };
  try {
    for (let part = await next(); !part.done; part = await next()) {
      bytesOut += part.value.byteLength;
      yield part.value;
    }
  } finally {
    await output.cancel().catch(() => {});
  }
}

function requireWithin(
  bytesOut: number,
  bytesIn: number,
  { bytesMax, ratioMax }: UnpackLimits,
): void {
  if (bytesOut > bytesMax) {
    throw archiveTooLarge(`more than ${formatBytes(bytesMax)}`, formatBytes(bytesMax));
  }
  if (bytesOut > RATIO_MATTERS_BYTES && bytesOut > bytesIn * ratioMax) {
    throw archiveTooLarge(
      `${formatBytes(bytesOut)} unpacked from ${formatBytes(bytesIn)}`,
      `${ratioMax} times as much`,
    );
  }
}

/** The packed bytes, counted, in small pieces, with a look at the first of them. */
class CountedInput {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array(0);
  bytesRead = 0;
  /** What the source failed with, which a decoder may hide. */
  failure: unknown;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  async peek(): Promise<Uint8Array> {
    while (this.#held.byteLength < MAGIC_BYTES_MAX) {
      const chunk = await this.#read();
      if (chunk === undefined) break;
      const isEnough = this.#held.byteLength === 0 && chunk.byteLength >= MAGIC_BYTES_MAX;
      this.#held = isEnough ? chunk : Buffer.concat([this.#held, chunk]);
    }
    return this.#held.subarray(0, MAGIC_BYTES_MAX);
  }

  /** As they come; whoever asks for the next one has done with this one. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    if (this.#held.byteLength > 0) yield this.#held;
    for (let chunk = await this.#read(); chunk !== undefined; chunk = await this.#read()) {
      yield chunk;
    }
  }

  toStream(): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const chunk = await this.#next();
          if (chunk === undefined) controller.close();
          // A copy, for a decoder may be at it when the source is asked for the next.
          else controller.enqueue(new Uint8Array(chunk));
        },
      },
      { highWaterMark: 0 },
    );
  }

  async cancel(): Promise<void> {
    await this.#chunks.return?.();
  }

  async #next(): Promise<Uint8Array | undefined> {
    if (this.#held.byteLength === 0) this.#held = (await this.#read()) ?? new Uint8Array(0);
    if (this.#held.byteLength === 0) return undefined;
    const piece = this.#held.subarray(0, INPUT_BYTES);
    this.#held = this.#held.subarray(INPUT_BYTES);
    return piece;
  }

  async #read(): Promise<Uint8Array | undefined> {
    try {
      for (;;) {
        const { done, value } = await this.#chunks.next();
        if (done === true) return undefined;
        this.bytesRead += value.byteLength;
        if (value.byteLength > 0) return value;
      }
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}
