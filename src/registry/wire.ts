/** Codes of errors that a registry answers with, and their HTTP status (OCI distribution spec, "Error Codes"; S-21). */
const STATUS = {
  UNAUTHORIZED: 401,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  MANIFEST_UNKNOWN: 404,
  BLOB_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  /** Of the distribution project, like the next. */
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  UNSUPPORTED: 405,
  UNKNOWN: 500,
} as const;

/** One of the codes that this registry answers with. */
export type WireCode = keyof typeof STATUS;

/** A request that is answered with an error of the distribution specification. */
export class WireError extends Error {
  readonly code: WireCode;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: WireCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.headers = headers;
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

/** An error as the specification wants it: `{"errors": [{"code", "message"}]}` (S-21). */
export function errorAnswer({ code, message, status, headers }: WireError): Answer {
  return jsonAnswer({ errors: [{ code, message }] }, status, headers);
}
