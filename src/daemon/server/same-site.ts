import { Failure, quoted } from "#base";
import { isLoopback } from "#registry";

/**
 * Refuses names that are not of loopback. A page elsewhere can have its own name resolve to this machine
 * (DNS rebinding), and is of one origin with the agent then; but the name is in what the browser sends.
 *
 * @throws {Failure} `host-unknown`
 */
export function demandLoopbackHost({ headers }: Request): void {
  const host = headers.get("host") ?? "";
  const name = host.replace(/:\d{1,5}$/, "").toLowerCase();
  if (isLoopback(name)) return;
  throw new Failure({
    code: "host-unknown",
    message: `Cannot answer for ${quoted(host)}: it is no name of this agent, expected 127.0.0.1 or localhost`,
    hint: "Ask for one of these names, also through a tunnel (ssh -L 5056:127.0.0.1:5056 SITE), or give the agent users with agent.htpasswd of its site file: with a login any name will do",
  });
}

/**
 * Refuses what a page of another site had the browser send. Browsers say themselves where a request comes
 * from (`Sec-Fetch-Site`, `Origin`), and a page can't set those. What would change something must have a
 * header and a content type besides which no form can send, and which other origins' scripts may not
 * without being allowed to, which nobody is.
 *
 * @throws {Failure} `cross-site`, `media-type`
 */
export function demandSameSite(request: Request): void {
  const { headers } = request;
  const from = headers.get("sec-fetch-site") ?? "none";
  const origin = headers.get("origin");
  if (!["none", "same-origin"].includes(from)) throw crossSite(`it comes from ${quoted(from)}`);
  if (origin !== null && !isOwn(origin, headers.get("host"))) {
    throw crossSite(`it comes from ${quoted(origin)}`);
  }
  if (isSafe(request)) return;
  if (headers.get("x-drayage") !== "1") throw crossSite('the header "x-drayage: 1" is missing');
  const type = headers.get("content-type") ?? "";
  if (/^application\/json\s*(;|$)/i.test(type)) return;
  throw new Failure({
    code: "media-type",
    message: `Cannot read a body of type ${quoted(type)}, expected application/json`,
    hint: 'Send JSON, with "content-type: application/json"',
  });
}

function isSafe({ method }: Request): boolean {
  return method === "GET" || method === "HEAD";
}

function isOwn(origin: string, host: string | null): boolean {
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase();
}

function crossSite(why: string): Failure {
  return new Failure({
    code: "cross-site",
    message: `Cannot take this request: ${why}, expected one of the agent's own page or of a program`,
    hint: 'Send it from there; a program sends "x-drayage: 1" and no "Origin"',
  });
}
