import { Failure } from "#base";
import { networkFailure } from "./network-failure.ts";
import type { Answer } from "./transport.ts";

/** How a body is watched. */
export interface BodyLimits {
  /** Without a byte for so long, while somebody waits for one, the other side is given up (C-54). */
  readonly stallMs: number;
  /** How many bytes must come: not fewer, and no more are read (C-82, C-89). */
  readonly sizeBytes: number;
}

/**
 * The body of an answer, held to its size and to moving on. A body that ends early, breaks or stalls
 * errors the stream with a transient Failure: whoever reads never takes a part for the whole.
 */
export function watchedBody(answer: Answer, limits: BodyLimits): ReadableStream<Uint8Array> {
  const { sizeBytes } = limits;
  if (answer.body === null) {
    if (sizeBytes > 0) throw cutShort(answer, 0, sizeBytes);
    return new ReadableStream({ start: (controller) => controller.close() });
  }
  const reader = answer.body.getReader();
  let receivedBytes = 0;
  const fail = async (failure: Failure): Promise<never> => {
    reader.cancel().catch(() => undefined);
    throw failure;
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const chunk = await readOrStall(reader, answer, limits.stallMs);
        if (chunk === undefined) {
          if (receivedBytes < sizeBytes) await fail(cutShort(answer, receivedBytes, sizeBytes));
          controller.close();
          return;
        }
        receivedBytes += chunk.byteLength;
        if (receivedBytes > sizeBytes) await fail(tooLong(answer, sizeBytes));
        controller.enqueue(chunk);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    // Nothing is read ahead: what waits here would be memory that the reader does not know of.
    { highWaterMark: 0 },
  );
}

/** What is needed of a stream's reader, by whichever of its several type declarations it goes. */
interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  cancel(): Promise<void>;
}

/** One chunk, or undefined at the end. A stall cancels the reader, which frees the connection. */
async function readOrStall(
  reader: Reader,
  answer: Answer,
  stallMs: number,
): Promise<Uint8Array | undefined> {
  let hasStalled = false;
  const timer = setTimeout(() => {
    hasStalled = true;
    reader.cancel().catch(() => undefined);
  }, stallMs);
  try {
    const { done, value } = await reader.read();
    if (hasStalled) throw stalled(answer, stallMs);
    return done ? undefined : value;
  } catch (error) {
    if (error instanceof Failure) throw error;
    answer.signal.throwIfAborted();
    throw networkFailure(error, answer.asked);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * A small body, whole: an error's, a token's, a manifest's. It stops at `bytesMax`.
 *
 * @returns undefined when there is more than `bytesMax`
 */
export async function readBounded(
  answer: Answer,
  bytesMax: number,
  stallMs: number,
): Promise<Uint8Array | undefined> {
  if (answer.body === null) return new Uint8Array();
  const reader = answer.body.getReader();
  const chunks: Uint8Array[] = [];
  let receivedBytes = 0;
  for (;;) {
    const chunk = await readOrStall(reader, answer, stallMs);
    if (chunk === undefined) return Buffer.concat(chunks);
    receivedBytes += chunk.byteLength;
    if (receivedBytes > bytesMax) {
      reader.cancel().catch(() => undefined);
      return undefined;
    }
    chunks.push(chunk);
  }
}

function cutShort({ asked }: Answer, receivedBytes: number, sizeBytes: number): Failure {
  return new Failure({
    code: "registry-unreachable",
    message: `Cannot fetch ${asked.subject}: ${asked.host} ended the answer after ${receivedBytes} bytes, expected ${sizeBytes}`,
    hint: "Check the link, and any proxy in between that limits the size or time of a transfer",
    transient: true,
  });
}

function stalled({ asked }: Answer, stallMs: number): Failure {
  return new Failure({
    code: "registry-unreachable",
    message: `Cannot fetch ${asked.subject}: ${asked.host} sent no byte for ${stallMs / 1000} s, expected the rest of the answer`,
    hint: "Check the link to the registry",
    transient: true,
  });
}

function tooLong({ asked }: Answer, sizeBytes: number): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `Cannot fetch ${asked.subject}: ${asked.host} sent more than ${sizeBytes} bytes, expected no more`,
    hint: "Check what the registry, or a proxy in between, answers in place of the content",
  });
}
