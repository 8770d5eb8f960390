import { backoffMs } from "#base";
import { releaseChunk } from "#content";
import type { Descriptor } from "#oci";
import { API, type Labels } from "./api.ts";
import type { CallSettings, Exchange } from "./grpc.ts";
import { hasGrpcCode } from "./grpc-failure.ts";
import { GRPC, MESSAGE_BYTES_MAX } from "./grpc-wire.ts";
import { headers, type ImportSession } from "./session.ts";

/** Leaves room in a message for what stands beside the bytes. */
const DATA_BYTES_MAX = MESSAGE_BYTES_MAX - 1024;

/** Each write is answered; so many answers may be on their way. */
const UNANSWERED_MAX = 16;

/** A slow disk still takes a megabyte in a second. */
const MS_PER_BYTE_MAX = 1_000 / 1_000_000;
const DEADLINE_MS = 60_000;

/** How long a call may take that reads or writes so many bytes, in milliseconds. */
export function deadlineFor(bytes: number): number {
  return DEADLINE_MS + Math.ceil(bytes * MS_PER_BYTE_MAX);
}

/** Another writer, or one of ours whose process died a moment ago, holds what was written so far. */
const LOCKED_ATTEMPTS = 5;
const LOCKED_BACKOFF = { firstMs: 200, maxMs: 2_000 };

/**
 * Puts content into containerd's content store, where it is compared with its digest and made durable.
 * What is there costs one call; what an earlier import left half written is gone on with.
 *
 * @throws {Failure} `runtime-failed`, `runtime-unreachable`, what reading the content throws
 */
export async function writeContent(
  descriptor: Descriptor,
  labels: Labels,
  session: ImportSession,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await writeOnce(descriptor, labels, session);
    } catch (error) {
      if (hasGrpcCode(error, GRPC.ALREADY_EXISTS)) break;
      if (!hasGrpcCode(error, GRPC.UNAVAILABLE) || attempt === LOCKED_ATTEMPTS) throw error;
      await session.clock.sleep(backoffMs(attempt, 0, LOCKED_BACKOFF), session.signal);
    }
  }
  if (Object.keys(labels).length > 0) await labelContent(descriptor, labels, session);
}

/** Adds labels to content that is there. */
export async function labelContent(
  { digest }: Pick<Descriptor, "digest">,
  labels: Labels,
  session: ImportSession,
): Promise<void> {
  const paths = Object.keys(labels).map((key) => `labels.${key}`);
  await session.api.call(
    API.updateContent,
    { info: { digest, labels }, updateMask: { paths } },
    { signal: session.signal, metadata: headers(session) },
  );
}

async function writeOnce(
  descriptor: Descriptor,
  labels: Labels,
  session: ImportSession,
): Promise<void> {
  const { digest, size } = descriptor;
  const settings: CallSettings = {
    signal: session.signal,
    deadlineMs: deadlineFor(size),
    metadata: headers(session),
  };
  using exchange = session.api.exchange(API.writeContent, settings);
  const total = { total: size, expected: digest };
  await exchange.send({ action: "STAT", ref: `drayage-${digest}`, ...total });
  const here = (await exchange.receive())?.offset ?? 0;
  // What is longer than it should be, or less than nothing, is somebody's mistake: it is written anew.
  const start = here >= 0 && here <= size ? here : 0;
  if (start < size) await sendBytes(descriptor, start, exchange, session);
  await exchange.send({ action: "COMMIT", ...total, offset: size, labels });
  // Answers to the last writes come first; the end of the exchange is the answer to the commit.
  while ((await exchange.receive()) !== undefined);
}

async function sendBytes(
  descriptor: Descriptor,
  start: number,
  exchange: Exchange<object, { readonly offset: number }>,
  { content, signal }: ImportSession,
): Promise<void> {
  const range = { start, end: descriptor.size };
  let offset = start;
  let unanswered = 0;
  for await (const chunk of await content.fetch(descriptor, { signal, range })) {
    for (let at = 0; at < chunk.byteLength; at += DATA_BYTES_MAX) {
      const data = chunk.subarray(at, at + DATA_BYTES_MAX);
      await exchange.send({ action: "WRITE", offset, data });
      offset += data.byteLength;
      unanswered += 1;
      if (unanswered < UNANSWERED_MAX) continue;
      await exchange.receive();
      unanswered -= 1;
    }
    releaseChunk(chunk);
  }
}
