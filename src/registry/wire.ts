/**
 * Codes of errors that a registry answers with, and their HTTP status (OCI distribution spec, "Error
 * Codes"; S-21). The specification leaves room for more, in upper case and underscores.
 */
const STATUS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNSUPPORTED: 405,
  /** Of the distribution project, like the next. */
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  /** Ours, like all that follow: the specification names the status (413) and no code. */
  MANIFEST_TOO_LARGE: 413,
  /** A condition of the request (`If-Match`) does not hold. */
  PRECONDITION_FAILED: 412,
  /** A body that hardly moves (SEC-22). Clients go by the status, on which containerd tries again (S-40). */
  REQUEST_TIMEOUT: 408,
  /** The disk has no room (S-66). */
  INSUFFICIENT_STORAGE: 507,
  UNKNOWN: 500,
  UNAVAILABLE: 503,
} as const;

/** One of the codes that this registry answers with. */
export type WireCode = keyof typeof STATUS;

/** A request that is answered with an error of the distribution specification. */
export class WireError extends Error {
  readonly code: WireCode;
  readonly headers: Readonly<Record<string, string>>;
  /** What the error is about, for programs: the answer has one error for each. */
  readonly details: readonly object[];

  constructor(
    code: WireCode,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    details: readonly object[] = [],
  ) {
    super(message);
    this.code = code;
    this.headers = headers;
    this.details = details;
  }

  get status(): number {
    return STATUS[this.code];
  }
}

/** An answer, and how many bytes of body it has, which a stream would not tell. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | Blob | null;
  readonly bytes: number;
}

/** An answer that its headers say all of. */
export function emptyAnswer(status: number, headers: Readonly<Record<string, string>>): Answer {
  return { status, headers, body: null, bytes: 0 };
}

/** A JSON document as an answer. */
export function jsonAnswer(
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answer {
  const body = new TextEncoder().encode(JSON.stringify(value));
  return {
    status,
    headers: { "content-type": "application/json", ...headers },
    body,
    bytes: body.byteLength,
  };
}

/** An error as the specification wants it: `{"errors": [{"code", "message", "detail"}]}` (S-21). */
export function errorAnswer({ code, message, status, headers, details }: WireError): Answer {
  const errors =
    details.length === 0
      ? [{ code, message }]
      : details.map((detail) => ({ code, message, detail }));
  return jsonAnswer({ errors }, status, headers);
}
