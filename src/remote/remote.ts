import { createHash } from "node:crypto";
import type { Clock } from "#base";
import { createMemoryPushSessions, type PushSessions, type Source, type Target } from "#content";
import type { Access, Credential, CredentialHelpers } from "#credential";
import { canonicalDomain, type Reference } from "#reference";
import type { Throttle } from "./body.ts";
import { HostLimits, type RemoteWait } from "./host-limits.ts";
import { HttpClient } from "./http-client.ts";
import { RemoteJsonApi } from "./json-api.ts";
import { Lane } from "./lane.ts";
import { Locality } from "./locality.ts";
import type { ProxySettings } from "./proxy.ts";
import { PushManner } from "./push-manner.ts";
import { PushTarget } from "./push-target.ts";
import type { Quirk } from "./quirks.ts";
import { RegistryClient } from "./registry-client.ts";
import { Repository } from "./repository.ts";
import { PATIENCE, type Patience } from "./retry.ts";
import { SerialTasks } from "./serial-tasks.ts";
import type { TransportOptions } from "./transport.ts";
import { type RemoteNotice, WarningLog } from "./warning-log.ts";

export type { Throttle } from "./body.ts";
export type { RemoteWait } from "./host-limits.ts";
export type { RemoteNotice } from "./warning-log.ts";

/** What a {@link Remote} needs of the world around it. */
export interface RemoteOptions {
  readonly clock: Clock;
  /** A number in [0, 1), for the jitter of waits. */
  readonly random: () => number;
  readonly userAgent: string;
  /** Already chosen between environment and user data; the environment itself is not read here. */
  readonly proxy: ProxySettings;
  /** Hosts, with or without port, to which a token realm may send credentials beside the safe ones. */
  readonly trustedTokenHosts: readonly string[];
  readonly helpers: CredentialHelpers;
  /** The addresses of a host name; `dnsAddresses` asks the system. */
  readonly lookupAddresses: (host: string) => Promise<readonly string[]>;
  /** Told of each thing once: a fall-back to plain http, a registry's own warnings, a quota that ends. */
  readonly onNotice?: (notice: RemoteNotice) => void;
  /** Told when a host wants to be left alone for a while, and requests to it wait. */
  readonly onWait?: (wait: RemoteWait) => void;
  /** Asked for every byte of manifests and blobs. Time that it takes is no stall. */
  readonly throttle?: Throttle;
  readonly patience?: Patience;
  /** Remembers uploads beyond the death of the process; those of this process by default. */
  readonly pushSessions?: PushSessions;
  /**
   * Hosts, with port, beside which none is asked but those of local networks: neither by a redirect nor
   * for a token. Everybody may be asked without it.
   */
  readonly confinedTo?: readonly string[];
  /** How registries want to be pushed to, before those that are known ({@link QUIRKS}). */
  readonly quirks?: readonly Quirk[];
}

/** How a registry is asked that stands for another host. */
export interface MirrorWay {
  /** The one that it is asked by; without it, https and then what the access allows. */
  readonly scheme?: "https" | "http";
  /** That host, which the registry is told with each request. */
  readonly namespace?: string;
}

/** All registries, for one process: connections, tokens and what was learned about hosts are shared. */
export class Remote {
  readonly #options: RemoteOptions;
  readonly #clients = new Map<string, RegistryClient>();
  readonly #lanes = new Map<string, Lane>();
  readonly #pushManners = new Map<string, PushManner>();
  readonly #referrerLists = new SerialTasks();
  readonly #pushSessions: PushSessions;
  readonly #http = new HttpClient();
  readonly #lifetime = new AbortController();
  readonly #warnings: WarningLog;
  readonly #limits: HostLimits;
  readonly #locality: Locality;

  constructor(options: RemoteOptions) {
    this.#options = options;
    this.#warnings = new WarningLog(options.onNotice ?? (() => undefined));
    this.#limits = new HostLimits({
      clock: options.clock,
      warnings: this.#warnings,
      onWait: options.onWait ?? (() => undefined),
    });
    this.#locality = new Locality(options);
    this.#pushSessions = options.pushSessions ?? createMemoryPushSessions();
  }

  /**
   * The repository of a reference; its tag and digest take no part.
   *
   * Nothing is sent yet. What the source throws is a Failure that names the registry and, in its
   * hint, where the access's credential came from.
   */
  repository(reference: Reference, access: Access): Source {
    const client = this.#client(reference, access);
    const { throttle } = this.#options;
    return new Repository(reference, client, {
      stallMs: this.#patience.stallMs,
      ...(throttle === undefined ? {} : { throttle }),
    });
  }

  /**
   * A repository of a registry that stands for another host, as a runtime asks it. Nothing is sent yet.
   */
  mirror(reference: Reference, access: Access, { scheme, namespace }: MirrorWay): Repository {
    const client = this.#client(reference, access, scheme);
    return new Repository(reference, client, { stallMs: this.#patience.stallMs }, namespace);
  }

  /**
   * The repository of a reference as a place to put images; its tag and digest take no part.
   *
   * Nothing is sent yet. What the target throws names the registry and what was to be pushed.
   */
  target(reference: Reference, access: Access): Target {
    const client = this.#client(reference, access);
    return new PushTarget(reference, client, {
      reading: { stallMs: this.#patience.stallMs },
      sessions: this.#pushSessions,
      referrerLists: this.#referrerLists,
    });
  }

  /**
   * The JSON API that a registry has beside the distribution protocol, reached as the registry is.
   *
   * @param address `host:port`
   */
  api(address: string, access: Access): RemoteJsonApi {
    const { clock, random, helpers } = this.#options;
    return new RemoteJsonApi(address, access, {
      ...{ clock, random, helpers, patience: this.#patience, transport: this.#transport },
      ...{ limits: this.#limits, warnings: this.#warnings },
    });
  }

  /** Ends what goes on behind the callers' backs: requests for tokens, connections at rest. */
  close(): void {
    this.#http.close();
    this.#lifetime.abort(new Error("The client was closed"));
  }

  get #transport(): TransportOptions {
    const { userAgent, proxy } = this.#options;
    return {
      userAgent,
      proxy,
      headerTimeoutMs: this.#patience.headerTimeoutMs,
      stallMs: this.#patience.stallMs,
      http: this.#http,
      ...(this.#options.confinedTo === undefined ? {} : { mayAsk: (url) => this.#mayAsk(url) }),
    };
  }

  async #mayAsk(url: URL): Promise<boolean> {
    if (this.#options.confinedTo?.includes(url.host) === true) return true;
    return this.#locality.isLocal(url);
  }

  get #patience(): Patience {
    return this.#options.patience ?? PATIENCE;
  }

  #client({ domain }: Reference, access: Access, scheme?: MirrorWay["scheme"]): RegistryClient {
    const host = apiHost(domain);
    const key = `${scheme ?? ""} ${host} ${accessKey(access)}`;
    const known = this.#clients.get(key);
    if (known !== undefined) return known;
    const { clock, random, helpers, trustedTokenHosts } = this.#options;
    const client = new RegistryClient(host, access, {
      clock,
      random,
      helpers,
      trustedTokenHosts,
      patience: this.#patience,
      transport: this.#transport,
      locality: this.#locality,
      warnings: this.#warnings,
      limits: this.#limits,
      lane: this.#lane(host),
      pushManner: this.#pushManner(host),
      ...(scheme === undefined ? {} : { scheme }),
      lifetime: this.#lifetime.signal,
    });
    this.#clients.set(key, client);
    return client;
  }

  #pushManner(host: string): PushManner {
    const manner = this.#pushManners.get(host) ?? new PushManner(host, this.#options.quirks);
    this.#pushManners.set(host, manner);
    return manner;
  }

  #lane(host: string): Lane {
    const lane = this.#lanes.get(host) ?? new Lane(this.#options.clock);
    this.#lanes.set(host, lane);
    return lane;
  }
}

/** Docker Hub answers elsewhere than its name says (C-153). */
export function apiHost(domain: string): string {
  const canonical = canonicalDomain(domain);
  return canonical === "docker.io" ? "registry-1.docker.io" : canonical;
}

/** The same for accesses that are the same in everything that a connection depends on. */
function accessKey({ origin, insecure, certificates, credential }: Access): string {
  const identity = JSON.stringify([origin, insecure, certificates, identityOf(credential)]);
  return createHash("sha256").update(identity).digest("hex");
}

function identityOf(credential: Credential | undefined): readonly string[] {
  if (credential === undefined) return [];
  switch (credential.kind) {
    case "password":
      return ["password", credential.username, credential.password.reveal()];
    case "helper":
      return ["helper", credential.helper, credential.server];
    default:
      return [credential.kind, credential.token.reveal()];
  }
}
