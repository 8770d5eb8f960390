import {
  hostOf,
  isAddress,
  isLinkLocalAddress,
  isLocalAddress,
  isLoopbackHost,
} from "./address.ts";
import { type ProxySettings, proxyFor } from "./proxy.ts";

/** What {@link Locality} asks. */
export interface LocalityOptions {
  readonly lookupAddresses: (host: string) => Promise<readonly string[]>;
  readonly proxy: ProxySettings;
}

/**
 * Tells hosts of the public Internet from those of this machine and its networks, so that a public
 * server cannot send us to look for something behind the site's firewall (C-42, SEC-4).
 *
 * A name that is reached through a proxy is not looked up: the proxy resolves it, where it stands.
 * A name may still change its address between the look and the connection; the certificate is what
 * protects then.
 */
export class Locality {
  readonly #options: LocalityOptions;

  constructor(options: LocalityOptions) {
    this.#options = options;
  }

  /** Whether the URL leads, by literal or by name, to any address that is not public. */
  async isLocal(url: URL): Promise<boolean> {
    const host = hostOf(url);
    if (isLoopbackHost(host)) return true;
    return (await this.addresses(url)).some(isLocalAddress);
  }

  /** Whether the URL leads to where only cloud metadata would answer, which nobody may send us to. */
  async isLinkLocal(url: URL): Promise<boolean> {
    return (await this.addresses(url)).some(isLinkLocalAddress);
  }

  /** The addresses behind a URL's host; none when they are not ours to know. */
  async addresses(url: URL): Promise<readonly string[]> {
    const host = hostOf(url);
    if (isAddress(host)) return [host];
    if (proxyFor(url, this.#options.proxy) !== undefined) return [];
    return this.#options.lookupAddresses(host);
  }
}
