import type { Clock, Failure } from "#base";
import type { Access, CredentialHelpers } from "#credential";
import { type AnswerContext, answerFailure, isTransient } from "./answer.ts";
import { type Authorization, Authorizer, type Purpose, type TokenExchange } from "./authorizer.ts";
import { BaseUrl } from "./base-url.ts";
import type { Endurance } from "./endurance.ts";
import type { HostLimits } from "./host-limits.ts";
import type { Lane, Place } from "./lane.ts";
import type { Locality } from "./locality.ts";
import { NetworkFailure } from "./network-failure.ts";
import type { PushManner } from "./push-manner.ts";
import { type CallPatience, Reachability } from "./reachability.ts";
import { followRedirects, safeHop } from "./redirect.ts";
import { type Patience, withRetries } from "./retry.ts";
import {
  type Answer,
  discard,
  type Exchange,
  exchange,
  prepareExchange,
  type TransportOptions,
} from "./transport.ts";
import { type Trust, trustFor } from "./trust.ts";
import { readLocation } from "./upload-location.ts";
import type { WarningLog } from "./warning-log.ts";

/** What an answer that is no blob takes of a connection: few manifests are larger. */
const SMALL_BYTES = 16 * 1024;

/** What all clients of a process share. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly random: () => number;
  readonly patience: Patience;
  readonly transport: TransportOptions;
  readonly locality: Locality;
  readonly helpers: CredentialHelpers;
  readonly trustedTokenHosts: readonly string[];
  readonly warnings: WarningLog;
  readonly limits: HostLimits;
  /** The bodies that come from this registry, whoever asks for them. */
  readonly lane: Lane;
  /** Shared like the lane. */
  readonly pushManner: PushManner;
  /** The one scheme that it is asked by; without it, https and then what {@link Access} allows. */
  readonly scheme?: "https" | "http";
  /** Aborted when the process needs no registry any more. */
  readonly lifetime: AbortSignal;
}

/** A request to a registry, in the registry's terms. */
export interface RegistryRequest
  extends Purpose,
    Pick<Exchange, "body" | "answerTimeoutMs" | "isLone"> {
  readonly method: Exchange["method"];
  /** From `/v2/` on; or the URL that the registry gave for this, checked by `safeHop` (C-102). */
  readonly path: string | URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly patience: CallPatience;
  /** How much of a blob is wanted; undefined for what is no blob. See {@link Exchange.load}. */
  readonly blobBytes?: number | undefined;
  /** One attempt, because the same request twice is not the same: the caller knows how to go on. */
  readonly isOnce?: boolean;
  /** Tells what an answer means that is none to the request. That of a pull by default. */
  readonly explain?: (answer: Answer, context: AnswerContext) => Promise<Failure>;
}

/**
 * One registry, as one credential sees it: how it is reached, what it knows of us, whether it is
 * there. All repositories of the registry share it.
 */
export class RegistryClient {
  readonly #host: string;
  readonly #access: Access;
  readonly #ports: ClientPorts;
  readonly #reachability: Reachability;
  readonly #authorizer: Authorizer;
  readonly #base: BaseUrl;
  #trust: Trust | undefined;
  /**
   * Whether it keeps lists of referrers; undefined until it was asked for one. Who asks finds out, for
   * all of its repositories.
   */
  keepsReferrers: boolean | undefined;

  constructor(host: string, access: Access, ports: ClientPorts) {
    this.#host = host;
    this.#access = access;
    this.#ports = ports;
    this.#reachability = new Reachability(ports.clock, ports.patience.coolDownMs);
    const { warnings, scheme } = ports;
    this.#base = new BaseUrl({
      ...{ host, access, warnings, scheme },
      onAlternative: (url) => this.#prepare(url),
    });
    this.#authorizer = new Authorizer({
      registry: host,
      access,
      clock: ports.clock,
      helpers: ports.helpers,
      trustedTokenHosts: ports.trustedTokenHosts,
      locality: ports.locality,
      lifetime: ports.lifetime,
      send: (request) => this.#sendForToken(request),
      context: () => this.context(),
    });
  }

  /** What connections to this registry carry, or to where it redirects. */
  get endurance(): Endurance {
    return this.#ports.lane.endurance;
  }

  /** How many more bodies may come from this registry now. */
  get spareTransfers(): number {
    return this.#ports.lane.spare;
  }

  /** Waits until one more body may come from this registry; the place must be left. */
  enter(sizeBytes: number, signal: AbortSignal): Promise<Place> {
    return this.#ports.lane.enter(sizeBytes, signal);
  }

  /** Tells the operator something about this registry, once. */
  tell(message: string): void {
    this.#ports.warnings.say(this.#host, message);
  }

  /** Its host, with port. */
  get host(): string {
    return this.#host;
  }

  get clock(): Clock {
    return this.#ports.clock;
  }

  get random(): () => number {
    return this.#ports.random;
  }

  get patience(): Patience {
    return this.#ports.patience;
  }

  /** What this host was found to bear of what is pushed to it. */
  get pushManner(): PushManner {
    return this.#ports.pushManner;
  }

  /**
   * Where the registry says that an upload goes on, if it is safe to follow it there (C-102).
   *
   * @throws {Failure} `registry-protocol`, `redirect-refused`
   */
  uploadLocation(answer: Answer): Promise<URL> {
    const location = readLocation(answer);
    return safeHop(answer, location, this.#base.known ?? answer.url, this.#ports.locality);
  }

  /** What explains an answer of this registry. */
  context(): AnswerContext {
    return {
      registry: this.#host,
      access: this.#access,
      nowMs: this.#ports.clock.now(),
      stallMs: this.#ports.patience.stallMs,
      redact: (text) => this.#authorizer.redact(text),
    };
  }

  /**
   * Makes a request until it is answered with something that repeating would not change: with all it
   * takes of authorisation, redirects and patience. The retries end where the headers begin.
   *
   * @returns an answer of any status but 401 and those that mean "not now"
   * @throws {Failure} whatever keeps such an answer from coming
   */
  request(request: RegistryRequest): Promise<Answer> {
    return this.read(request, async (answer) => answer);
  }

  /**
   * Makes a request as {@link RegistryClient.request} does, and reads its answer within the same
   * patience: for a body so small that it is asked for again whole when it breaks off.
   *
   * @throws {Failure} whatever keeps such an answer from coming; what `take` throws
   */
  read<T>(request: RegistryRequest, take: (answer: Answer) => Promise<T>): Promise<T> {
    const { clock, random } = this.#ports;
    const { signal } = request;
    const attempt = async () => take(await this.#attempt(request));
    if (request.isOnce === true) return attempt();
    const isBrief = request.patience === "brief";
    const patience = isBrief ? { ...this.#ports.patience, attempts: 1 } : this.#ports.patience;
    const call = { patience: request.patience, errand: request, signal };
    return this.#reachability.run(call, () =>
      withRetries(attempt, { patience, clock, random, signal }),
    );
  }

  async #attempt(request: RegistryRequest): Promise<Answer> {
    let answer = await this.#authorised(request);
    if (answer.status === 401) answer = await this.#asStranger(request, answer);
    const isReading = request.method === "GET" || request.method === "HEAD";
    if (isReading && this.#isForeign(answer) && EXPIRED_STATUSES.has(answer.status)) {
      // The address that the registry gave has run out; it gives a new one (C-44).
      await discard(answer);
      answer = await this.#authorised(request);
    }
    if (!isTransient(answer)) return answer;
    this.#ports.lane.troubled();
    throw await (request.explain ?? answerFailure)(answer, this.context());
  }

  /** A 401 of the registry is answered here; one from elsewhere is returned. */
  async #authorised(request: RegistryRequest): Promise<Answer> {
    let authorization = this.#base.isElsewhere(request.path)
      ? undefined
      : await this.#authorizer.anticipate(this.#base.likely, request);
    for (let round = 0; ; round += 1) {
      const answer = await this.#follow(
        await this.#first(request, authorization),
        request,
        authorization,
      );
      if (answer.status !== 401 || this.#isForeign(answer)) return answer;
      authorization = await this.#answerChallenge(answer, request, authorization, round);
    }
  }

  /** Those who wait to find it there wait on, so that what it asks for is found out by one and not by all. */
  async #answerChallenge(
    answer: Answer,
    request: RegistryRequest,
    refused: Authorization | undefined,
    round: number,
  ): Promise<Authorization> {
    try {
      return await this.#authorizer.answerChallenge(answer, request, refused, round);
    } finally {
      this.#reachability.reached();
    }
  }

  /** Asks the host that the registry redirected to, as nobody, when it wants a token of its own (C-41). */
  async #asStranger(request: RegistryRequest, refused: Answer): Promise<Answer> {
    const header = await this.#authorizer.asStranger(refused, request);
    if (header === undefined) return refused;
    await discard(refused);
    const answer = await this.#send(request, refused.url, { header });
    return this.#follow(answer, request, undefined);
  }

  async #follow(
    first: Answer,
    request: RegistryRequest,
    authorization: Authorization | undefined,
  ): Promise<Answer> {
    const registry = this.#base.known ?? first.url;
    const answer = await followRedirects(first, registry, this.#ports.locality, (url, isForeign) =>
      this.#send(request, url, isForeign ? undefined : authorization),
    );
    this.#ports.warnings.note(this.#host, answer.headers.get("warning"));
    return answer;
  }

  #isForeign({ url }: Answer): boolean {
    return url.origin !== this.#base.known?.origin;
  }

  /** The request itself, before any redirect. */
  async #first(
    request: RegistryRequest,
    authorization: Authorization | undefined,
  ): Promise<Answer> {
    const { path } = request;
    try {
      const answer = await this.#base.ask(path, (url) => this.#send(request, url, authorization));
      const isAnswer = answer.status !== 401 && !this.#base.isElsewhere(path);
      if (isAnswer) this.#reachability.reached();
      return answer;
    } catch (error) {
      if (error instanceof NetworkFailure && error.foundNobody) {
        this.#reachability.foundNobody(error);
      }
      throw error;
    }
  }

  #send(
    request: RegistryRequest,
    url: URL,
    authorization: Pick<Authorization, "header"> | undefined,
  ): Promise<Answer> {
    const { method, headers, subject, verb, signal, patience, blobBytes } = request;
    const { body, answerTimeoutMs, isLone } = request;
    return this.#exchange({
      method,
      url,
      ...(body === undefined ? {} : { body }),
      ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
      ...(isLone === undefined ? {} : { isLone }),
      headers:
        authorization === undefined ? headers : { ...headers, Authorization: authorization.header },
      subject,
      verb,
      signal,
      patience,
      load: {
        bytes: blobBytes ?? SMALL_BYTES,
        endurance: this.endurance,
        isSmall: blobBytes === undefined,
      },
    });
  }

  /** Whatever keeps this from being done is met by the request, if that comes to be made. */
  #prepare(url: URL): void {
    const prepare = async () =>
      prepareExchange({ url, trust: this.#trusted }, this.#ports.transport);
    prepare().catch(() => undefined);
  }

  get #trusted(): Trust {
    this.#trust ??= trustFor(this.#host, this.#access);
    return this.#trust;
  }

  #sendForToken(request: TokenExchange): Promise<Answer> {
    return this.#exchange({ ...request, signal: this.#ports.lifetime, patience: "full" });
  }

  async #exchange(
    request: Omit<Exchange, "trust"> & { readonly patience: CallPatience },
  ): Promise<Answer> {
    const { limits, lane, transport } = this.#ports;
    await limits.wait(request.url.host, request);
    const askedMs = performance.now();
    try {
      const answer = await exchange({ ...request, trust: this.#trusted }, transport);
      lane.answered(performance.now() - askedMs);
      limits.note(answer);
      return answer;
    } catch (error) {
      if (error instanceof NetworkFailure && error.isInterruption) lane.troubled();
      throw error;
    }
  }
}

/** What object stores and CDNs answer to a signed URL that has run out. */
const EXPIRED_STATUSES: ReadonlySet<number> = new Set([400, 401, 403]);
