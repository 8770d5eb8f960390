/**
 * The client of the OCI distribution protocol: one {@link Remote} for the whole process, one
 * {@link Source} for each repository that is read, one {@link Target} for each that is pushed to.
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
 * Blobs are pushed in requests as large as the registry and the link to it bear, and go on after a cut
 * at the byte where the registry stands, also after the death of the process. What the registry says
 * of that decides nothing: the digest does, and what it says it stored is looked for.
 *
 * It never follows the `urls` of a foreign layer, and reads no environment.
 *
 * @example
 * ```ts
 * const remote = new Remote({ clock, random, userAgent, proxy: {}, trustedTokenHosts: [], helpers, lookupAddresses: dnsAddresses });
 * const source = remote.repository(parseReference("quay.io/team/app:1.2"), ANONYMOUS);
 * const manifest = await source.resolve("1.2", { signal });
 * const stream = await source.fetch(manifest, { signal });
 * const target = remote.target(parseReference("10.0.0.5:30003/site/app:1.2"), access);
 * await target.pushManifest(manifest, bytes, { tag: "1.2", signal });
 * ```
 *
 * @module
 */
export { dnsAddresses } from "./address.ts";
export {
  type CertificateEnd,
  certificateEnd,
  readServerCertificate,
} from "./certificate.ts";
export type { JsonAnswer, JsonRequest, RemoteJsonApi } from "./json-api.ts";
export { type ProxySettings, proxyFor } from "./proxy.ts";
export { type PushHabit, QUIRKS, type Quirk } from "./quirks.ts";
export {
  type MirrorWay,
  Remote,
  type RemoteNotice,
  type RemoteOptions,
  type RemoteWait,
  type Throttle,
} from "./remote.ts";
export { PATIENCE, type Patience } from "./retry.ts";
export { readServerDate } from "./server-date.ts";
