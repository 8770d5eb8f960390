import { Failure, printable } from "#base";
import { hostOf, isLoopbackHost } from "./address.ts";
import type { Locality } from "./locality.ts";
import { cannot } from "./network-failure.ts";
import { type Answer, discard } from "./transport.ts";

/** Longest chain of redirects that is followed. */
const HOPS_MAX = 10;

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Whether an answer points elsewhere. */
export function isRedirect({ status, headers }: Answer): boolean {
  return REDIRECTS.has(status) && headers.has("location");
}

/**
 * Sends a request to where its answers point, by rules of our own (B-1, C-40, C-42): at most ten
 * hops, never from https to http, never from a public registry into a local network, never to a
 * link-local address, never to a URL with a user in it; and from the first change of origin on without the registry's credentials.
 *
 * @param registry where the chain began, which decides whether local addresses are allowed
 * @param send makes the request anew; `isForeign` forbids it any credential
 * @throws {Failure} `redirect-refused`
 */
export async function followRedirects(
  first: Answer,
  registry: URL,
  locality: Locality,
  send: (url: URL, isForeign: boolean) => Promise<Answer>,
): Promise<Answer> {
  let answer = first;
  let isForeign = answer.url.origin !== registry.origin;
  for (let hops = 1; isRedirect(answer); hops += 1) {
    await discard(answer);
    const next = await nextHop(answer, registry, locality);
    if (hops > HOPS_MAX) throw refused(answer, next, `that is more than ${HOPS_MAX} redirects`);
    // Back at the origin, a chain that left it does not get the credentials again (SEC-3).
    isForeign ||= next.origin !== registry.origin;
    answer = await send(next, isForeign);
  }
  return answer;
}

async function nextHop(answer: Answer, registry: URL, locality: Locality): Promise<URL> {
  const location = answer.headers.get("location") ?? "";
  if (!URL.canParse(location, answer.url.href)) {
    throw new Failure({
      code: "registry-protocol",
      message: `${cannot(answer.asked)}: ${answer.asked.host} redirects to what is no URL, expected one`,
      hint: "Tell the operator of the registry: its Location header is broken",
    });
  }
  return safeHop(answer, new URL(location, answer.url.href), registry, locality);
}

/**
 * Where an answer points, if we let ourselves be sent there.
 *
 * @throws {Failure} `redirect-refused`
 */
export async function safeHop(
  answer: Answer,
  location: URL,
  registry: URL,
  locality: Locality,
): Promise<URL> {
  const next = new URL(location);
  next.hash = "";
  if (next.protocol !== "https:" && next.protocol !== "http:") {
    throw refused(answer, next, "only https and http are followed");
  }
  if (answer.url.protocol === "https:" && next.protocol === "http:") {
    throw refused(answer, next, "that leaves https for plain http");
  }
  if (next.username !== "" || next.password !== "") {
    throw refused(answer, next, "that carries a user name");
  }
  if (next.origin === answer.url.origin) return next;
  if (await locality.isLinkLocal(next)) {
    throw refused(answer, next, "that is a link-local address");
  }
  if (
    next.protocol === "http:" &&
    isLoopbackHost(hostOf(registry)) &&
    !isLoopbackHost(hostOf(next))
  ) {
    throw refused(answer, next, "plain http would leave this machine");
  }
  if ((await locality.isLocal(next)) && !(await locality.isLocal(registry))) {
    throw refused(answer, next, "that leads from a public registry into a local network");
  }
  return next;
}

/** Only scheme and host of the target are shown: path and query may be a signature (C-45). */
function refused({ asked }: Answer, next: URL, why: string): Failure {
  const target = printable(`${next.protocol}//${next.host}`, 120);
  return new Failure({
    code: "redirect-refused",
    message: `${cannot(asked)}: ${asked.host} redirects to ${target}, and ${why}, expected a safe redirect`,
    hint: "Tell the operator of the registry; when it is your own, correct the address under which it redirects",
  });
}
