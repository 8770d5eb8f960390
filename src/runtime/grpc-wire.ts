/** Codes of gRPC (grpc.io, "Status codes"), without the library, which takes its time to load. */
export const GRPC = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

/**
 * So much is sent in one message at most: Bun's HTTP/2 client stalls on messages of 256 KiB and more
 * (measured with Bun 1.4.5, grpc-js, connect and bare node:http2 alike; the same under Node is fine).
 */
export const MESSAGE_BYTES_MAX: number = 64 * 1024;

/** A method of a service, with the types of what it takes and gives. */
export interface Method<Request, Response> {
  /** `package.Service/Method`. */
  readonly path: string;
  /** Never there: they hold the types. */
  readonly request?: Request;
  readonly response?: Response;
}

/** Names a method of {@link PROTOS}. */
export function method<Request, Response>(path: string): Method<Request, Response> {
  return { path };
}
