import { type Clock, Failure, type Secret, SingleFlight } from "#base";
import type { Access, Credential, CredentialHelpers } from "#credential";
import { abortable } from "./abortable.ts";
import { type AnswerContext, credentialHint } from "./answer.ts";
import { chooseChallenge, type UsableChallenge } from "./challenge.ts";
import type { Locality } from "./locality.ts";
import { cannot, type Errand } from "./network-failure.ts";
import { safeRealm } from "./realm.ts";
import { mergeScopes } from "./scope.ts";
import {
  basicAuthorization,
  fetchToken,
  type PasswordOrIdentity,
  type Token,
  type TokenRequest,
} from "./token.ts";
import { type Answer, discard } from "./transport.ts";

/** What an {@link Authorizer} needs to know and to reach. */
export interface AuthorizerOptions {
  /** The registry's host, for messages. */
  readonly registry: string;
  readonly access: Access;
  readonly clock: Clock;
  readonly helpers: CredentialHelpers;
  readonly trustedTokenHosts: readonly string[];
  readonly locality: Locality;
  /** Sends a request to a token service. It lives as long as the client, not as one caller. */
  readonly send: (request: TokenExchange) => Promise<Answer>;
  readonly lifetime: AbortSignal;
  readonly context: () => AnswerContext;
}

/** A request to a token service. */
export interface TokenExchange extends Errand {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What a request is for. */
export interface Purpose extends Errand {
  /** `repository:<path>:pull`, or several with a space between them. */
  readonly scope: string;
  readonly signal: AbortSignal;
}

/** What was sent, so that a refusal can be understood. */
export interface Authorization {
  readonly header: string;
  readonly token?: Token;
}

type HelperCredential = Extract<Credential, { kind: "helper" }>;

/** A credential that is one: a helper's has been asked for. */
type Resolved = Exclude<Credential, HelperCredential>;

type PasswordCredential = Extract<Credential, { kind: "password" }>;

type BearerChallenge = Extract<UsableChallenge, { scheme: "bearer" }>;

/**
 * Proves to one registry who asks, with one credential or none (C-7 to C-22).
 *
 * What it learned from the registry's last challenge it applies to the next request at once; tokens
 * are kept by realm, service and scopes, and concurrent requests for the same token are one.
 */
export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #tokens = new Map<string, Token>();
  readonly #flights = new SingleFlight<Token>();
  /** The scopes that a repository's challenges asked for, by the scope that we would have asked for. */
  readonly #scopes = new Map<string, readonly string[]>();
  /** The credentials that were sent, so that they can be taken out of what servers say. */
  readonly #sent = new Set<string>();
  #challenge: UsableChallenge | undefined;
  #helperAnswer: Promise<Resolved | undefined> | undefined;
  #rotated: Secret | undefined;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /**
   * What to send without having been asked for this request: what the last one was asked for. Where
   * that can't be had, nothing: another repository's challenge says nothing of this one, which may be
   * public.
   */
  async anticipate(registry: URL, purpose: Purpose): Promise<Authorization | undefined> {
    try {
      return await this.#anticipate(registry, purpose);
    } catch (error) {
      if (error instanceof Failure) return undefined;
      throw error;
    }
  }

  async #anticipate(registry: URL, purpose: Purpose): Promise<Authorization | undefined> {
    const { credential } = this.#options.access;
    if (credential?.kind === "registry-token") {
      this.#sent.add(credential.token.reveal());
      return this.#bearer(credential.token);
    }
    if (this.#challenge === undefined) return undefined;
    if (this.#challenge.scheme === "bearer") {
      return this.#withToken(registry, this.#challenge, purpose);
    }
    const resolved = await this.#resolve(purpose.signal);
    return resolved?.kind === "password" ? this.#basic(resolved) : undefined;
  }

  /**
   * What to send after a 401.
   *
   * @param refused what was sent with the request that got it
   * @param round how many 401 this request has had before
   * @throws {Failure} `registry-unauthorized` when nothing better can be sent; no third try, whatever
   *   the registry says (C-7)
   */
  async answerChallenge(
    answer: Answer,
    purpose: Purpose,
    refused: Authorization | undefined,
    round: number,
  ): Promise<Authorization> {
    const challenge = chooseChallenge(answer.headers.get("www-authenticate") ?? "");
    await discard(answer);
    this.#forget(refused?.token);
    if (challenge === undefined)
      throw this.#unauthorized(answer, "without a challenge that we know");
    const needsMoreScope =
      challenge.scheme === "bearer" && challenge.error === "insufficient_scope";
    if (round > 1 || (round === 1 && !needsMoreScope)) throw this.#refused(answer);
    if (this.#options.access.credential?.kind === "registry-token") throw this.#refused(answer);
    const authorization = await this.#meet(challenge, answer, purpose, refused);
    // Only what could be met is worth anticipating for other repositories.
    this.#challenge = challenge;
    return authorization;
  }

  #meet(
    challenge: UsableChallenge,
    answer: Answer,
    purpose: Purpose,
    refused: Authorization | undefined,
  ): Promise<Authorization> {
    if (challenge.scheme === "basic") return this.#answerBasic(answer, purpose, refused);
    const known = this.#scopes.get(purpose.scope) ?? purpose.scope.split(" ");
    this.#scopes.set(purpose.scope, mergeScopes(challenge.scopes, known));
    return this.#withToken(answer.url, challenge, purpose);
  }

  /** An anonymous token for a host that the registry redirected to, which nobody else gets (C-41). */
  async asStranger(answer: Answer, purpose: Purpose): Promise<string | undefined> {
    const challenge = chooseChallenge(answer.headers.get("www-authenticate") ?? "");
    if (challenge?.scheme !== "bearer") return undefined;
    const request = await this.#tokenRequest(answer.url, challenge, purpose, undefined);
    const token = await this.#ask({ ...request, scopes: challenge.scopes }, purpose);
    return `Bearer ${token.value.reveal()}`;
  }

  /** A text without the secrets that were sent to this registry or its token service. */
  redact(text: string): string {
    let safe = text;
    const tokens = [...this.#tokens.values()].map(({ value }) => value.reveal());
    for (const secret of [...this.#sent, ...tokens]) safe = safe.replaceAll(secret, "[secret]");
    return safe;
  }

  async #answerBasic(
    answer: Answer,
    purpose: Purpose,
    refused: Authorization | undefined,
  ): Promise<Authorization> {
    const wasBasic = refused?.header.startsWith("Basic ") ?? false;
    const credential = wasBasic
      ? await this.#resolveAgain(purpose.signal)
      : await this.#resolve(purpose.signal);
    if (credential?.kind !== "password")
      throw this.#unauthorized(answer, "and asks for a user and password");
    const authorization = this.#basic(credential);
    if (authorization.header === refused?.header) throw this.#refused(answer);
    return authorization;
  }

  async #withToken(
    registry: URL,
    challenge: BearerChallenge,
    purpose: Purpose,
  ): Promise<Authorization> {
    const scopes = this.#scopes.get(purpose.scope) ?? purpose.scope.split(" ");
    const key = JSON.stringify([challenge.realm, challenge.service, [...scopes].sort()]);
    const cached = this.#tokens.get(key);
    if (cached !== undefined && this.#options.clock.monotonic() < cached.expiresAtMs) {
      return this.#bearer(cached.value, cached);
    }
    const flight = this.#flights.run(key, async () => {
      // Callers come and go; the token is for all of them.
      const shared = { ...purpose, signal: this.#options.lifetime };
      const token = await this.#fetch(registry, challenge, { ...shared, scopes });
      this.#tokens.set(key, token);
      return token;
    });
    const token = await abortable(flight, purpose.signal);
    return this.#bearer(token.value, token);
  }

  async #fetch(
    registry: URL,
    challenge: BearerChallenge,
    purpose: Purpose & { readonly scopes: readonly string[] },
  ): Promise<Token> {
    const { signal, scopes } = purpose;
    const ask = async (credential: Resolved | undefined) => {
      const usable = toTokenCredential(credential, this.#rotated);
      const request = await this.#tokenRequest(registry, challenge, purpose, usable);
      return this.#ask({ ...request, scopes }, purpose);
    };
    const wasAsked = this.#helperAnswer !== undefined;
    const isHelper = this.#options.access.credential?.kind === "helper";
    try {
      return await ask(await this.#resolve(signal));
    } catch (error) {
      // What a helper or a rotation gave may have grown old; what a person wrote has not (C-36).
      const isOld = this.#rotated !== undefined || (isHelper && wasAsked);
      const isRefusal = error instanceof Failure && error.code === "registry-unauthorized";
      if (!isRefusal || !isOld) throw error;
      this.#rotated = undefined;
      return await ask(await this.#resolveAgain(signal));
    }
  }

  async #tokenRequest(
    registry: URL,
    challenge: BearerChallenge,
    { subject, verb }: Purpose,
    credential: PasswordOrIdentity | undefined,
  ): Promise<Omit<TokenRequest, "scopes">> {
    const realm = await safeRealm(challenge.realm, {
      registry,
      trustedTokenHosts: this.#options.trustedTokenHosts,
      locality: this.#options.locality,
      hasCredential: credential !== undefined,
      subject,
      verb,
    });
    return {
      realm,
      ...(challenge.service === undefined ? {} : { service: challenge.service }),
      ...(credential === undefined ? {} : { credential }),
    };
  }

  async #ask(request: TokenRequest, { subject, verb }: Errand): Promise<Token> {
    const { clock, locality, send, context } = this.#options;
    this.#remember(request.credential);
    const token = await fetchToken(request, {
      clock,
      locality,
      context: context(),
      send: (method, url, headers, body) =>
        send({ method, url, headers, subject, verb, ...(body === undefined ? {} : { body }) }),
    });
    if (request.credential?.kind === "identity-token")
      this.#rotated = token.refresh ?? this.#rotated;
    return token;
  }

  #forget(token: Token | undefined): void {
    for (const [key, cached] of this.#tokens) if (cached === token) this.#tokens.delete(key);
  }

  /** Half a password is refused and not taken for none: it would quietly become an anonymous pull (C-22). */
  async #resolve(signal: AbortSignal): Promise<Resolved | undefined> {
    const { credential } = this.#options.access;
    const resolved =
      credential?.kind === "helper" ? await this.#helped(credential, signal) : credential;
    const problem = resolved?.kind === "password" ? problemOf(resolved) : undefined;
    if (problem === undefined) return resolved;
    const { registry, access } = this.#options;
    throw new Failure({
      code: "registry-unauthorized",
      message: `Cannot use the credential for ${registry}: ${problem}, expected user and password`,
      hint: credentialHint({ registry, access }),
    });
  }

  #helped(credential: HelperCredential, signal: AbortSignal): Promise<Resolved | undefined> {
    if (this.#helperAnswer === undefined) {
      const asked = this.#askHelper(credential);
      this.#helperAnswer = asked;
      asked.catch(() => {
        if (this.#helperAnswer === asked) this.#helperAnswer = undefined;
      });
    }
    return abortable(this.#helperAnswer, signal);
  }

  #resolveAgain(signal: AbortSignal): Promise<Resolved | undefined> {
    this.#helperAnswer = undefined;
    return this.#resolve(signal);
  }

  async #askHelper(credential: HelperCredential): Promise<Resolved | undefined> {
    const { helpers, lifetime } = this.#options;
    const given = await helpers.get(credential.helper, credential.server, { signal: lifetime });
    return given?.kind === "helper" ? undefined : given;
  }

  #basic(credential: PasswordCredential): Authorization {
    this.#remember(credential);
    const header = basicAuthorization(credential.username, credential.password);
    this.#sent.add(header.slice("Basic ".length));
    return { header };
  }

  #bearer(value: Secret, token?: Token): Authorization {
    return { header: `Bearer ${value.reveal()}`, ...(token === undefined ? {} : { token }) };
  }

  #remember(credential: PasswordOrIdentity | undefined): void {
    if (credential === undefined) return;
    const secret = credential.kind === "password" ? credential.password : credential.token;
    if (!secret.isEmpty) this.#sent.add(secret.reveal());
  }

  #refused(answer: Answer): Failure {
    const { credential } = this.#options.access;
    return this.#unauthorized(
      answer,
      credential === undefined ? "and wants a credential" : "and refused the credential",
    );
  }

  #unauthorized({ asked }: Answer, how: string): Failure {
    const { registry, access } = this.#options;
    return new Failure({
      code: "registry-unauthorized",
      message: `${cannot(asked)}: ${registry} answered 401 ${how}, expected 200`,
      hint: credentialHint({ registry, access }),
    });
  }
}

/** What keeps user and password from being sent: a colon in the name would make it another name. */
function problemOf({ username, password }: PasswordCredential): string | undefined {
  if (username === "") return "it has no user name";
  if (password.isEmpty) return "it has no password";
  return username.includes(":") ? "its user name has a colon" : undefined;
}

function toTokenCredential(
  credential: Resolved | undefined,
  rotated: Secret | undefined,
): PasswordOrIdentity | undefined {
  if (credential?.kind === "identity-token")
    return { ...credential, token: rotated ?? credential.token };
  return credential?.kind === "password" ? credential : undefined;
}
