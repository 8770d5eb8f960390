import { type Clock, Failure, Secret } from "#base";
import type { Credential } from "#credential";
import { isJsonObject } from "#oci";
import { type AnswerContext, answerFailure, credentialHint, isTransient } from "./answer.ts";
import { readBounded } from "./body.ts";
import type { Locality } from "./locality.ts";
import { cannot } from "./network-failure.ts";
import { followRedirects } from "./redirect.ts";
import { type Answer, discard } from "./transport.ts";

/** A Bearer token and how long it may be used. */
export interface Token {
  readonly value: Secret;
  /** On the monotonic clock: what the server's clock says takes no part (C-15). */
  readonly expiresAtMs: number;
  /** A new refresh token that came along and replaces the one that was used (C-14). */
  readonly refresh?: Secret;
}

/** What is asked of a token service. */
export interface TokenRequest {
  /** Checked already; see `safeRealm`. */
  readonly realm: URL;
  readonly service?: string;
  /** The scope of the challenge first: some services read only that (C-19). */
  readonly scopes: readonly string[];
  readonly credential?: PasswordOrIdentity;
}

/** The credentials that a token service takes. */
export type PasswordOrIdentity = Extract<Credential, { kind: "password" | "identity-token" }>;

/** What asking needs. */
export interface TokenPorts {
  readonly send: (
    method: "GET" | "POST",
    url: URL,
    headers: Readonly<Record<string, string>>,
    body?: string,
  ) => Promise<Answer>;
  readonly clock: Clock;
  readonly locality: Locality;
  readonly context: AnswerContext;
}

/** Larger replies of a token service are not read (C-20). */
const TOKEN_REPLY_BYTES_MAX = 1024 * 1024;

/** What containers/image assumes for a missing or shorter life (C-15). */
const LIFETIME_SECONDS_MIN = 60;
const LIFETIME_SECONDS_MAX = 24 * 60 * 60;

/** A token is renewed when this part of its life is over, before a server would refuse it. */
const USABLE_PART_OF_LIFE = 0.8;

const CLIENT_ID = "drayage";

/**
 * Gets a token from a token service. An identity token goes by POST, as OAuth 2 has it (C-11); a
 * password goes by GET, or by POST to a service that knows no GET (C-12); without a credential the
 * token is an anonymous one (C-16). It never asks for a refresh token (C-14).
 *
 * @throws {Failure} `registry-unauthorized` when the credential is refused or one is needed; what
 *   {@link answerFailure} says for other answers; `registry-protocol` for a reply without a token
 */
export async function fetchToken(request: TokenRequest, ports: TokenPorts): Promise<Token> {
  const { credential } = request;
  let answer =
    credential?.kind === "identity-token" ? await post(request, ports) : await get(request, ports);
  if (credential?.kind === "password" && (answer.status === 404 || answer.status === 405)) {
    await discard(answer);
    answer = await post(request, ports);
  }
  if (answer.status !== 200) throw await tokenRefused(answer, request, ports.context);
  return readToken(answer, ports);
}

async function get(request: TokenRequest, ports: TokenPorts): Promise<Answer> {
  const url = new URL(request.realm);
  if (request.service !== undefined) url.searchParams.append("service", request.service);
  for (const scope of request.scopes) url.searchParams.append("scope", scope);
  url.searchParams.append("client_id", CLIENT_ID);
  const { credential } = request;
  const headers: Record<string, string> = {};
  if (credential?.kind === "password") {
    url.searchParams.append("account", credential.username);
    headers["Authorization"] = basicAuthorization(credential.username, credential.password);
  }
  const answer = await ports.send("GET", url, headers);
  return followRedirects(answer, request.realm, ports.locality, async (next, isForeign) => {
    // A token from elsewhere would be asked for without the credential, and so be the wrong one.
    if (isForeign) throw foreignRedirect(answer, next);
    return ports.send("GET", next, headers);
  });
}

async function post(request: TokenRequest, ports: TokenPorts): Promise<Answer> {
  const form = new URLSearchParams();
  const { credential } = request;
  if (credential?.kind === "identity-token") {
    form.set("grant_type", "refresh_token");
    form.set("refresh_token", credential.token.reveal());
  } else if (credential !== undefined) {
    form.set("grant_type", "password");
    form.set("username", credential.username);
    form.set("password", credential.password.reveal());
  }
  if (request.service !== undefined) form.set("service", request.service);
  form.set("client_id", CLIENT_ID);
  form.set("scope", request.scopes.join(" "));
  const type = { "Content-Type": "application/x-www-form-urlencoded" };
  return ports.send("POST", request.realm, type, form.toString());
}

/** `Basic` with the bytes of the UTF-8 text (C-22). */
export function basicAuthorization(username: string, password: Secret): string {
  return `Basic ${Buffer.from(`${username}:${password.reveal()}`, "utf8").toString("base64")}`;
}

/** What can stand in an Authorization header; anything else would be an error that shows it. */
const TOKEN_TEXT = /^[\x21-\x7e]{1,65536}$/;

async function readToken(answer: Answer, { clock, context }: TokenPorts): Promise<Token> {
  const receivedAtMs = clock.monotonic();
  const bytes = await readBounded(answer, TOKEN_REPLY_BYTES_MAX, context);
  const reply = bytes === undefined ? undefined : parseObject(bytes);
  // Harbor sends both, and access_token empty.
  const text = reply?.["access_token"] || reply?.["token"];
  if (reply === undefined || typeof text !== "string" || !TOKEN_TEXT.test(text)) {
    throw new Failure({
      code: "registry-protocol",
      message: `${cannot(answer.asked)}: the token service ${answer.asked.host} of ${context.registry} gave no token, expected one`,
      hint: "A login portal or proxy may answer in its place: open its address by hand from this network",
    });
  }
  const refresh = reply["refresh_token"];
  return {
    value: new Secret(text),
    expiresAtMs: receivedAtMs + usableSeconds(reply["expires_in"]) * 1000,
    ...(typeof refresh === "string" && refresh !== "" ? { refresh: new Secret(refresh) } : {}),
  };
}

function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function usableSeconds(expiresIn: unknown): number {
  const seconds = typeof expiresIn === "number" ? expiresIn : LIFETIME_SECONDS_MIN;
  const bounded = Math.min(Math.max(seconds, LIFETIME_SECONDS_MIN), LIFETIME_SECONDS_MAX);
  return bounded * USABLE_PART_OF_LIFE;
}

async function tokenRefused(
  answer: Answer,
  { credential }: TokenRequest,
  context: AnswerContext,
): Promise<Failure> {
  const failure = await answerFailure(answer, context);
  if (isTransient(answer)) return failure;
  const { status, asked } = answer;
  const isRefusal = status === 400 || status === 401 || status === 403;
  if (!isRefusal && credential?.kind !== "identity-token") return failure;
  const what =
    credential === undefined ? "gives no token without a credential" : "refused the credential";
  return new Failure({
    code: "registry-unauthorized",
    message: `${cannot(asked)}: the token service ${asked.host} of ${context.registry} ${what} and answered ${status}, expected a token`,
    hint: credentialHint(context),
    cause: failure,
  });
}

function foreignRedirect({ asked }: Answer, next: URL): Failure {
  return new Failure({
    code: "redirect-refused",
    message: `${cannot(asked)}: the token service ${asked.host} redirects to another origin, ${next.host}, expected a token`,
    hint: "Tell the operator of the registry: its realm should name the token service itself",
  });
}
