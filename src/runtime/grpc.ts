import { accessSync, constants, statSync } from "node:fs";
import {
  type ChannelOptions,
  Client,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import protobuf from "protobufjs";
import { assert, systemErrorCode } from "#base";
import { callFailure, silent, unreachable } from "./grpc-failure.ts";
import { GRPC, MESSAGE_BYTES_MAX, type Method } from "./grpc-wire.ts";
import { PROTOS } from "./protos.ts";

/** How a call is made. */
export interface CallSettings {
  readonly signal: AbortSignal;
  /**
   * It fails when it has not ended by then, in milliseconds from now. Without it the call is one that
   * takes no time, and who does not answer within 30 seconds hangs.
   */
  readonly deadlineMs?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

const DEADLINE_MS = 30_000;

/** A list of some thousand images with their labels is a few megabytes. */
const ANSWER_BYTES_MAX = 16 * 1024 ** 2;

/**
 * Both ways at once: what is sent is answered, message by message, in order. One side at a time may wait,
 * for `send` or for `receive`.
 */
export interface Exchange<Request, Response> extends Disposable {
  /** Resolves when the other side can take more. @throws {Failure} what ended the exchange */
  send(message: Request): Promise<void>;
  /** The next answer; undefined at the end. @throws {Failure} what ended the exchange */
  receive(): Promise<Response | undefined>;
}

/** A gRPC server behind a unix socket. */
export class GrpcSocket implements Disposable {
  readonly socket: string;
  readonly #client: Client;
  readonly #deadlineMs: number;

  /**
   * Connects when it is first called.
   *
   * @param deadlineMs for calls that name none
   */
  constructor(socket: string, deadlineMs: number = DEADLINE_MS) {
    this.socket = socket;
    this.#deadlineMs = deadlineMs;
    this.#client = new Client(`unix://${socket}`, credentials.createInsecure(), CHANNEL);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  /**
   * @throws {Failure} `runtime-unreachable`, `runtime-old`, `runtime-silent`, `runtime-failed` with what
   *   the other side said
   */
  call<Request extends object, Response>(
    { path }: Method<Request, Response>,
    request: Request,
    settings: CallSettings,
  ): Promise<Response> {
    const { signal } = settings;
    signal.throwIfAborted();
    this.#requireSocket(path);
    const { encode, decode } = codecOf(path);
    return new Promise((resolve, reject) => {
      const onAbort = () => call.cancel();
      const done = (error: ServiceError | null, response?: Response) => {
        signal.removeEventListener("abort", onAbort);
        if (error === null && response !== undefined) resolve(response);
        else if (signal.aborted) reject(signal.reason);
        else if (error?.code === GRPC.DEADLINE_EXCEEDED && settings.deadlineMs === undefined) {
          reject(silent(this.socket, path));
        } else reject(callFailure(this.socket, path, error));
      };
      const call = this.#client.makeUnaryRequest<Request, Response>(
        ...[`/${path}`, encode, decode as (bytes: Buffer) => Response, request],
        ...[metadataOf(settings), { deadline: this.#deadlineOf(settings) }, done],
      );
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** @throws {Failure} as `call`; also what it gives throws so */
  exchange<Request extends object, Response>(
    { path }: Method<Request, Response>,
    settings: CallSettings,
  ): Exchange<Request, Response> {
    const { signal } = settings;
    signal.throwIfAborted();
    this.#requireSocket(path);
    const { encode, decode } = codecOf(path);
    const stream = this.#client.makeBidiStreamRequest<Buffer, Response>(
      ...[`/${path}`, (bytes: Buffer) => bytes, decode as (bytes: Buffer) => Response],
      ...[metadataOf(settings), { deadline: this.#deadlineOf(settings) }],
    );
    const onAbort = () => stream.cancel();
    signal.addEventListener("abort", onAbort, { once: true });
    const answers: Response[] = [];
    const state: { ended: boolean; error?: unknown; wake?: () => void } = { ended: false };
    const finish = (error: unknown) => {
      if (!state.ended) state.error = error;
      state.ended = true;
      state.wake?.();
    };
    stream.on("data", (answer: Response) => {
      answers.push(answer);
      state.wake?.();
    });
    stream.on("end", () => finish(undefined));
    stream.on("error", (error: ServiceError) => {
      finish(signal.aborted ? signal.reason : callFailure(this.socket, path, error));
    });
    // A stream that broke never drains.
    stream.on("drain", () => state.wake?.());
    const wait = () =>
      new Promise<void>((resolve) => {
        state.wake = resolve;
      });
    return {
      async send(message) {
        // Encoded now, and not when its turn comes: what it holds may be reused by then.
        if (!state.ended && !stream.write(encode(message))) {
          while (!state.ended && stream.writableNeedDrain) await wait();
        }
        if (state.error !== undefined) throw state.error;
      },
      async receive() {
        while (answers.length === 0 && !state.ended) await wait();
        if (answers.length === 0 && state.error !== undefined) throw state.error;
        return answers.shift();
      },
      [Symbol.dispose]() {
        signal.removeEventListener("abort", onAbort);
        if (!state.ended) stream.cancel();
      },
    };
  }

  #deadlineOf({ deadlineMs = this.#deadlineMs }: CallSettings): Date {
    return new Date(Date.now() + deadlineMs);
  }

  /** grpc-js says of all these the same, after its deadline. */
  #requireSocket(path: string): void {
    try {
      if (!statSync(this.socket).isSocket()) throw unreachable(this.socket, path, "not-a-socket");
      accessSync(this.socket, constants.W_OK);
    } catch (error) {
      const code = systemErrorCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") throw unreachable(this.socket, path, "missing");
      if (code === "EACCES" || code === "EPERM") throw unreachable(this.socket, path, "denied");
      throw error;
    }
  }
}

const CHANNEL: ChannelOptions = {
  "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
  "grpc.max_receive_message_length": ANSWER_BYTES_MAX,
  // A name of the machine's proxy settings has no say in a socket.
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
};

function metadataOf({ metadata = {} }: CallSettings): Metadata {
  const all = new Metadata();
  for (const [key, value] of Object.entries(metadata)) all.set(key, value);
  return all;
}

interface Codec {
  readonly encode: (message: object) => Buffer;
  readonly decode: (bytes: Uint8Array) => unknown;
}

const codecs = new Map<string, Codec>();
let protosRead: protobuf.Root | undefined;

/** Read when they are first used: most commands never talk to a runtime. */
function protos(): protobuf.Root {
  if (protosRead !== undefined) return protosRead;
  const root = new protobuf.Root();
  for (const text of PROTOS) protobuf.parse(text, root, { keepCase: false });
  root.resolveAll();
  protosRead = root;
  return root;
}

function codecOf(path: string): Codec {
  const known = codecs.get(path);
  if (known !== undefined) return known;
  const [service = "", name = ""] = path.split("/");
  const found = protos().lookupService(service).methods[name];
  assert(found !== undefined, `the protos have ${path}`);
  const { resolvedRequestType: request, resolvedResponseType: response } = found;
  assert(request !== null && response !== null, `the types of ${path} are known`);
  const codec: Codec = {
    encode: (message) => Buffer.from(request.encode(request.fromObject(message)).finish()),
    decode: (bytes) =>
      response.toObject(response.decode(bytes), {
        ...{ longs: Number, enums: Number, defaults: true, arrays: true, objects: true },
      }),
  };
  codecs.set(path, codec);
  return codec;
}
