import { hostOf, isLoopbackHost } from "./address.ts";
import { type ProxySettings, proxyFor } from "./proxy.ts";
import { apiHost } from "./remote.ts";

/** How a server is asked for the time. */
export interface ServerDateOptions {
  readonly proxy: ProxySettings;
  /** How long it may take, in milliseconds. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * The time that a registry has, in milliseconds since 1970, to the second. Its certificate is not looked
 * at, for a wrong clock makes good ones bad, and nothing but the question is sent. It is no proof of
 * the time: anybody on the way can answer.
 *
 * @returns undefined when nobody says it
 * @throws the signal's reason; nothing that a server does
 */
export async function readServerDate(
  registry: string,
  { proxy, timeoutMs, signal }: ServerDateOptions,
): Promise<number | undefined> {
  const host = apiHost(registry);
  const giveUp = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  for (const url of urlsOf(host)) {
    try {
      const through = proxyFor(url, proxy);
      // GET: Bun 1.4.5, like others, does not say the time to HEAD (measured).
      const answer = await fetch(url, {
        ...{ method: "GET", redirect: "manual", decompress: false, signal: giveUp },
        ...(url.protocol === "https:" ? { tls: { rejectUnauthorized: false } } : {}),
        ...(through === undefined ? {} : { proxy: through.href }),
      });
      await answer.body?.cancel();
      const dateMs = Date.parse(answer.headers.get("date") ?? "");
      if (Number.isFinite(dateMs)) return dateMs;
    } catch {
      signal.throwIfAborted();
    }
  }
  return undefined;
}

function urlsOf(host: string): readonly URL[] {
  if (!URL.canParse(`https://${host}/v2/`)) return [];
  const https = new URL(`https://${host}/v2/`);
  return isLoopbackHost(hostOf(https)) ? [https, new URL(`http://${host}/v2/`)] : [https];
}
