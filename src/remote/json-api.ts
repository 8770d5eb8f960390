import { Failure } from "#base";
import type { Access, Credential } from "#credential";
import { type AnswerContext, answerFailure, credentialHint, isTransient } from "./answer.ts";
import { BaseUrl } from "./base-url.ts";
import { readBounded } from "./body.ts";
import { cannot } from "./network-failure.ts";
import type { ClientPorts } from "./registry-client.ts";
import { withRetries } from "./retry.ts";
import { basicAuthorization } from "./token.ts";
import { type Answer, exchange } from "./transport.ts";
import { type Trust, trustFor } from "./trust.ts";

/** A request to an API that speaks JSON. */
export interface JsonRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** From the root of the host, with its query. */
  readonly path: string;
  /** Sent as JSON when it is there. */
  readonly body?: unknown;
  /** What is to be done, for messages: `read the health of Harbor`. */
  readonly task: string;
  readonly signal: AbortSignal;
}

/** What an API said. */
export interface JsonAnswer {
  readonly status: number;
  /** Undefined when there is none, or it is no JSON. */
  readonly body: unknown;
}

/** What is shared by all clients of a process, as far as an API needs it. */
export type JsonApiPorts = Pick<
  ClientPorts,
  "clock" | "random" | "patience" | "transport" | "helpers" | "limits" | "warnings"
>;

type PasswordCredential = Extract<Credential, { kind: "password" }>;

/** An answer larger than this is read no further: a list of hundred objects has some 100 KB. */
const BODY_BYTES_MAX = 4 * 1024 * 1024;

/**
 * The JSON API that a registry has beside the distribution protocol, on the same host: the same trust,
 * proxy, patience and rules for plain http.
 *
 * User and password go with every request, as Basic, and no cookie ever does: who sends none is asked
 * for no CSRF token (Harbor: `src/server/middleware/csrf`). Redirects are not followed.
 *
 * Only GET is repeated by itself: what an interrupted POST did is for the caller to find out.
 */
export class RemoteJsonApi {
  /** `host:port`. */
  readonly address: string;
  readonly #access: Access;
  readonly #ports: JsonApiPorts;
  readonly #base: BaseUrl;
  #trust: Trust | undefined;

  constructor(address: string, access: Access, ports: JsonApiPorts) {
    this.address = address;
    this.#access = access;
    this.#ports = ports;
    this.#base = new BaseUrl({ host: address, access, warnings: ports.warnings });
  }

  /**
   * @returns an answer of any status but those that mean "not now"
   * @throws {Failure} `transient` for those, and when nobody answers; `registry-unauthorized` when the
   *   credential is none that can be sent; `registry-protocol` for a body without end
   */
  async request(request: JsonRequest): Promise<JsonAnswer> {
    const { clock, random } = this.#ports;
    const isSafe = request.method === "GET";
    const patience = isSafe ? this.#ports.patience : { ...this.#ports.patience, attempts: 1 };
    try {
      return await withRetries(() => this.#attempt(request), {
        ...{ patience, clock, random },
        signal: request.signal,
      });
    } catch (error) {
      throw error instanceof Failure ? retold(error, request.task) : error;
    }
  }

  async #attempt(request: JsonRequest): Promise<JsonAnswer> {
    const credential = await this.#credential(request);
    const sent = credential && basicAuthorization(credential.username, credential.password);
    const answer = await this.#base.ask(request.path, (url) => this.#send(request, url, sent));
    const redact = redactor(credential, sent);
    if (isTransient(answer)) throw await answerFailure(answer, this.#context(redact));
    const { stallMs } = this.#ports.patience;
    const bytes = await readBounded(answer, BODY_BYTES_MAX, { stallMs });
    if (bytes === undefined) throw tooMuch(request.task, this.address);
    const text = new TextDecoder().decode(bytes);
    return {
      status: answer.status,
      // An error may repeat what it was sent, and its words are shown.
      body: parseJson(text, answer.status < 400 ? undefined : redact),
    };
  }

  async #send(
    { method, body, task, signal }: JsonRequest,
    url: URL,
    authorization: string | undefined,
  ): Promise<Answer> {
    const { limits, transport } = this.#ports;
    this.#trust ??= trustFor(this.address, this.#access);
    await limits.wait(url.host, { subject: task, patience: "full", signal });
    const answer = await exchange(
      {
        ...{ method, url, signal, subject: task, trust: this.#trust },
        headers: {
          Accept: "application/json",
          ...(authorization === undefined ? {} : { Authorization: authorization }),
          ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      },
      transport,
    );
    limits.note(answer);
    return answer;
  }

  async #credential({ task, signal }: JsonRequest): Promise<PasswordCredential | undefined> {
    const { credential } = this.#access;
    const resolved =
      credential?.kind === "helper"
        ? await this.#ports.helpers.get(credential.helper, credential.server, { signal })
        : credential;
    if (resolved === undefined || isUsable(resolved)) return resolved;
    throw new Failure({
      code: "registry-unauthorized",
      message: `Cannot ${task}: the credential for ${this.address} is no user with a password, which is what its API takes`,
      hint: credentialHint({ registry: this.address, access: this.#access }),
    });
  }

  #context(redact: (text: string) => string): AnswerContext {
    return {
      registry: this.address,
      access: this.#access,
      nowMs: this.#ports.clock.now(),
      stallMs: this.#ports.patience.stallMs,
      redact,
    };
  }
}

/** The shared client's words are of fetching; here most tasks are others. */
function retold(failure: Failure, task: string): Failure {
  const opening = `${cannot({ subject: task })}: `;
  if (!failure.message.startsWith(opening)) return failure;
  const { code, hint, transient, retryAfterMs } = failure;
  return new Failure({
    ...{ code, hint, transient, cause: failure },
    message: `Cannot ${task}: ${failure.message.slice(opening.length)}`,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

function isUsable(credential: Credential): credential is PasswordCredential {
  if (credential.kind !== "password") return false;
  const { username, password } = credential;
  return username !== "" && !username.includes(":") && !password.isEmpty;
}

function redactor(
  credential: PasswordCredential | undefined,
  authorization: string | undefined,
): (text: string) => string {
  if (credential === undefined || authorization === undefined) return (text) => text;
  const secrets = [credential.password.reveal(), authorization.slice("Basic ".length)];
  return (text) => secrets.reduce((safe, secret) => safe.replaceAll(secret, "[secret]"), text);
}

/** Secrets are taken out of what was parsed: in the text, JSON may have escaped them. */
function parseJson(text: string, redact?: (text: string) => string): unknown {
  try {
    if (redact === undefined) return JSON.parse(text);
    return JSON.parse(text, (_, value) => (typeof value === "string" ? redact(value) : value));
  } catch {
    return undefined;
  }
}

function tooMuch(task: string, address: string): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `Cannot ${task}: the answer of ${address} has more than ${BODY_BYTES_MAX} bytes, expected fewer`,
    hint: "Check that the address is that of the registry, and what stands between it and this machine",
  });
}
