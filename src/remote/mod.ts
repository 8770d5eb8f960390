/**
 * The pull side of the OCI distribution protocol: one {@link Remote} for the whole process, one
 * {@link Source} for each repository.
 *
 * It knows how to reach a registry (TLS, proxies, redirects, plain http where that is allowed), how to
 * prove who asks (Basic, Bearer tokens, refresh tokens), when to try again and when to give up, and
 * what to tell a person then. It trusts no answer: what comes is verified by who stores it.
 *
 * Bodies of blobs come over sockets of its own, as many at once from a host as it takes well, and from
 * any byte on; where connections break after so many bytes, in pieces that they bear. Requests for
 * manifests never wait behind them. When a host asks to be left alone,
 * everybody who would ask it waits, and is told so.
 *
 * It never pushes, never follows the `urls` of a foreign layer, and reads no environment.
 *
 * @example
 * ```ts
 * const remote = new Remote({ clock, random, userAgent, proxy: {}, trustedTokenHosts: [], helpers, lookupAddresses: dnsAddresses });
 * const source = remote.repository(parseReference("quay.io/team/app:1.2"), ANONYMOUS);
 * const manifest = await source.resolve("1.2", { signal });
 * const stream = await source.fetch(manifest, { signal });
 * ```
 *
 * @module
 */
export { dnsAddresses } from "./address.ts";
export type { ProxySettings } from "./proxy.ts";
export {
  Remote,
  type RemoteNotice,
  type RemoteOptions,
  type RemoteWait,
  type Throttle,
} from "./remote.ts";
export { PATIENCE, type Patience } from "./retry.ts";
