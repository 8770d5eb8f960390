import type { Access } from "#credential";
import { hostOf, isLoopbackHost } from "./address.ts";
import { NetworkFailure, type NetworkTrouble } from "./network-failure.ts";
import type { WarningLog } from "./warning-log.ts";

/** What a {@link BaseUrl} needs to know. */
export interface BaseUrlOptions {
  /** With port, if it has one. */
  readonly host: string;
  readonly access: Pick<Access, "insecure">;
  /** Told when plain http is used because the access allows it. */
  readonly warnings: Pick<WarningLog, "say">;
  /** The one scheme that the host is asked by; without it, https and then what the access allows. */
  readonly scheme?: "https" | "http" | undefined;
  /** Told of the URL that is asked next should the host not speak the first scheme. */
  readonly onAlternative?: (url: URL) => void;
}

/** What says that nobody speaks https there; of anything else plain http would only hide the cause. */
const MAY_BE_PLAIN: ReadonlySet<NetworkTrouble> = new Set(["no-tls", "refused"]);

/**
 * By which scheme a host is asked: https, and plain http after it only where the access says `insecure`
 * and on this machine (C-154). What answered once is asked from then on, by that scheme alone.
 */
export class BaseUrl {
  readonly #options: BaseUrlOptions;
  readonly #candidates: readonly [URL, ...URL[]];
  #known: URL | undefined;

  constructor(options: BaseUrlOptions) {
    this.#options = options;
    this.#candidates = candidatesOf(options);
  }

  /** The one that answered; undefined until one has. */
  get known(): URL | undefined {
    return this.#known;
  }

  /** The one that answered, else the one that is asked first. */
  get likely(): URL {
    return this.#known ?? this.#candidates[0];
  }

  /** Whether a URL that the host itself gave leads to another origin than its own. */
  isElsewhere(path: string | URL): boolean {
    return path instanceof URL && path.origin !== this.likely.origin;
  }

  /**
   * Makes a request by the first scheme that the host speaks and is allowed. A whole URL is asked as it
   * is, and says something of the host only when it lies there.
   *
   * @param path from the root of the host, with its query; or a URL that the host gave
   * @param send makes one attempt, and is called again for the next scheme
   * @throws {NetworkFailure} that of the last scheme there is; whatever else `send` throws
   */
  async ask<T>(path: string | URL, send: (url: URL) => Promise<T>): Promise<T> {
    const isWhole = path instanceof URL;
    if (isWhole && this.isElsewhere(path)) return send(path);
    const bases = this.#known === undefined && !isWhole ? this.#candidates : [this.likely];
    if (bases[1] !== undefined) this.#options.onAlternative?.(bases[1]);
    for (const [i, base] of bases.entries()) {
      try {
        const answer = await send(new URL(path, base));
        this.#found(base, i > 0);
        return answer;
      } catch (error) {
        const isLast = i === bases.length - 1;
        if (isLast || !(error instanceof NetworkFailure) || !MAY_BE_PLAIN.has(error.trouble)) {
          throw error;
        }
      }
    }
    throw new Error("Broken assertion: a host has at least one base URL");
  }

  #found(base: URL, isFallback: boolean): void {
    if (this.#known !== undefined) return;
    this.#known = base;
    const { host, access, warnings } = this.#options;
    if (!isFallback || !access.insecure) return;
    warnings.say(host, "it speaks no https: plain http is used, as `insecure` allows");
  }
}

function candidatesOf({ host, access, scheme }: BaseUrlOptions): readonly [URL, ...URL[]] {
  if (scheme !== undefined) return [new URL(`${scheme}://${host}`)];
  const https = new URL(`https://${host}`);
  const mayBePlain = access.insecure || isLoopbackHost(hostOf(https));
  return mayBePlain ? [https, new URL(`http://${host}`)] : [https];
}
