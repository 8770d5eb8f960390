import { Failure } from "#base";
import type { Digest } from "#oci";
import { cannot } from "./network-failure.ts";
import type { Answer } from "./transport.ts";

/** A host where a path would begin: with a port, a dot, or of this machine. */
const SCHEMELESS =
  /^(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9-]+(?=:[0-9]))(?::[0-9]{1,5})?\//;

/**
 * Where an upload goes on, as the registry wrote it: absolute, from the root, relative, or a host
 * without a scheme, as some write (C-102). Its query is kept byte for byte.
 *
 * A registry behind a proxy that ends TLS often does not know, and names itself with `http`. The same
 * host is then meant as it was asked; who followed the letter would send the blob in the clear.
 *
 * @throws {Failure} `registry-protocol` without a location, or with one that is no URL
 */
export function readLocation(answer: Answer): URL {
  const text = answer.headers.get("location")?.trim() ?? "";
  const { url } = answer;
  const absolute = SCHEMELESS.test(text) ? `${url.protocol}//${text}` : text;
  if (text === "" || !URL.canParse(absolute, url.href)) throw noLocation(answer);
  const location = new URL(absolute, url.href);
  const isSelf = location.hostname === url.hostname;
  if (!isSelf || url.protocol !== "https:" || location.protocol !== "http:") return location;
  const rest = location.href.slice(location.origin.length);
  return new URL(rest, url.origin);
}

/** The location with a parameter behind those that it has, which stay as they are. */
export function withParameter(location: URL, name: string, value: Digest | string): URL {
  const join = location.search === "" ? "?" : "&";
  const bare = location.href.replace(/[?&]$/, "");
  return new URL(`${bare}${join}${name}=${value}`);
}

/**
 * How many bytes a registry says that it has: of `Range: 0-41`, 42 (C-105). `0-0` is none, for it is
 * said of empty uploads too. Undefined when it says nothing that can be read.
 */
export function receivedBytes(headers: Headers): number | undefined {
  const [, end] = /^\s*(?:bytes[= ])?0-([0-9]{1,15})\s*$/i.exec(headers.get("range") ?? "") ?? [];
  if (end === undefined) return undefined;
  return end === "0" ? 0 : Number(end) + 1;
}

function noLocation({ asked, status }: Answer): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `${cannot(asked)}: ${asked.host} answered ${status} without a usable Location, expected one`,
    hint: "Check that the address is a registry's, and any proxy in between that may drop headers",
  });
}
