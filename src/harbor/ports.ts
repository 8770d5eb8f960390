import type { RobotSecret } from "./robot-secrets.ts";

/** A request to Harbor, authorised by who carries it out. */
export interface HarborApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** From the root of the host, with its query. */
  readonly path: string;
  /** Sent as JSON when it is there. */
  readonly body?: unknown;
  /** What is to be done, for messages: `read the health of Harbor`. */
  readonly task: string;
  readonly signal: AbortSignal;
}

/** What Harbor said. */
export interface HarborApiAnswer {
  readonly status: number;
  /** Undefined when there is none, or it is no JSON. */
  readonly body: unknown;
}

/**
 * How Harbor is reached, with one credential. Statuses that mean "not now" (429, 500, 502, 503, 504)
 * are thrown as transient Failures, all others are answers.
 */
export interface HarborApi {
  /** `host:port`. */
  readonly address: string;
  request(request: HarborApiRequest): Promise<HarborApiAnswer>;
}

/** Keeps the secrets of robot accounts: Harbor shows one only when it makes it. */
export interface RobotSecrets {
  /** All that are kept, of any Harbor; none where there is nothing that can be read as such. */
  read(): Promise<readonly RobotSecret[]>;
  /** Keeps these instead of those before, durably before it resolves. */
  write(secrets: readonly RobotSecret[]): Promise<void>;
}
