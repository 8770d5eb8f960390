import type { Clock } from "#base";
import { createCredentialHelpers } from "#keychain";
import { type Ledger, type Link, type LinkSettings, openLink } from "#link";
import type { ClusterInputs, ProxyAddresses } from "#profile";
import {
  dnsAddresses,
  type ProxySettings,
  Remote,
  type RemoteNotice,
  type RemoteOptions,
  type RemoteWait,
} from "#remote";
import type { SiteContext } from "./context.ts";
import { machineTimeZone } from "./time-zone.ts";

/** A pause on purpose, as the display shows it. */
export interface Pause {
  /** Fit to print. */
  readonly reason: string;
  /** In milliseconds since 1970. */
  readonly untilMs: number;
}

/** What an uplink is opened with. */
export interface UplinkOptions {
  readonly inputs: ClusterInputs;
  readonly ledger: Ledger;
  readonly context: SiteContext;
  readonly onNotice: (notice: RemoteNotice) => void;
  readonly onPause: (pause: Pause) => void;
  /** Without it what is fetched is neither held back nor counted: for a few manifests. */
  readonly isMetered: boolean;
}

/** All registries, over the link of the site and within its budget. */
export interface Uplink extends AsyncDisposable {
  readonly remote: Remote;
  readonly link: Link;
  /** Bytes of bodies that came over it so far: manifests too, and what was of no use. */
  readonly bytesCrossed: number;
}

/**
 * Opens the registries behind the site's link. It must be disposed of, which ends what goes on behind
 * the callers' backs and settles the quota's account.
 */
export async function openUplink(options: UplinkOptions): Promise<Uplink> {
  const { inputs, ledger, context, onPause, isMetered } = options;
  const { clock } = context;
  const link = await openLink(inputs.site.link, {
    clock,
    ledger,
    timeZone: machineTimeZone(context.env),
    onWait: ({ untilMs }) => onPause({ reason: "no window of link.windows is open", untilMs }),
  });
  let bytesCrossed = 0;
  const throttle = {
    pieceBytesMax: isCapped(inputs.site.link) ? CAPPED_PIECE_BYTES : Number.POSITIVE_INFINITY,
    take(bytes: number, signal: AbortSignal) {
      bytesCrossed += bytes;
      return link.take(bytes, signal);
    },
  };
  const remote = new Remote({ ...remoteOptions(options), ...(isMetered ? { throttle } : {}) });
  return {
    remote,
    link,
    get bytesCrossed() {
      return bytesCrossed;
    },
    async [Symbol.asyncDispose]() {
      remote.close();
      await link[Symbol.asyncDispose]();
    },
  };
}

/** What every client of registries is made with, on the uplink or not. */
export function remoteOptions({
  inputs,
  context: { clock, random, version, env },
  onNotice,
  onPause,
}: Pick<UplinkOptions, "inputs" | "context" | "onNotice" | "onPause">): RemoteOptions {
  return {
    clock,
    random,
    userAgent: `dray/${version}`,
    proxy: chooseProxy(inputs.userData.proxy, env),
    trustedTokenHosts: inputs.site.trustedTokenHosts,
    helpers: createCredentialHelpers({ env }),
    lookupAddresses: dnsAddresses,
    onNotice,
    onWait: ({ registry, reason, untilMs }: RemoteWait) =>
      onPause({ reason: `${registry}: ${reason}`, untilMs }),
  };
}

/** Small enough that a narrow cap is spent evenly; each piece costs a turn of the event loop. */
const CAPPED_PIECE_BYTES = 16 * 1024;

function isCapped({ bytesPerSecond, windows = [] }: LinkSettings): boolean {
  return (
    bytesPerSecond !== undefined || windows.some((window) => window.bytesPerSecond !== undefined)
  );
}

/** The user data describes this very host, so its proxies win over those of the environment. */
export function chooseProxy(userData: ProxyAddresses, env: SiteContext["env"]): ProxySettings {
  if (userData.httpProxy !== undefined || userData.httpsProxy !== undefined) return userData;
  const variable = (name: string) => env[name] || env[name.toUpperCase()] || undefined;
  // A CGI server puts the request's Proxy header into HTTP_PROXY (CVE-2016-5385).
  const httpProxy =
    env["REQUEST_METHOD"] === undefined ? variable("http_proxy") : env["http_proxy"];
  const httpsProxy = variable("https_proxy");
  const noProxy = userData.noProxy ?? variable("no_proxy");
  return {
    ...(httpProxy === undefined ? {} : { httpProxy }),
    ...(httpsProxy === undefined ? {} : { httpsProxy }),
    ...(noProxy === undefined ? {} : { noProxy }),
  };
}

/** Time in which something arrived is cut into pieces of this length. */
const SLICE_MS = 1_000;

/** Less tells nothing of a link. */
const MEASURED_BYTES_MIN = 8 * 1024 * 1024;

/** Measures how fast a link is while it is used: pauses and waits do not count. */
export interface SpeedGauge {
  arrived(bytes: number): void;
  /** Bytes per second, or undefined when too little came to tell. */
  speed(): number | undefined;
}

/** A gauge that has seen nothing. */
export function createSpeedGauge(clock: Clock): SpeedGauge {
  let bytesArrived = 0;
  let slices = 0;
  let lastSlice = -1;
  return {
    arrived(bytes) {
      bytesArrived += bytes;
      const slice = Math.floor(clock.monotonic() / SLICE_MS);
      if (slice !== lastSlice) slices += 1;
      lastSlice = slice;
    },
    speed() {
      if (bytesArrived < MEASURED_BYTES_MIN) return undefined;
      return Math.round((bytesArrived * 1_000) / (slices * SLICE_MS));
    },
  };
}
