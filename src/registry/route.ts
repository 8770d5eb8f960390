import { type Digest, tryParseDigest } from "#oci";
import { WireError } from "./wire.ts";

/** What a request is for. */
export type Route =
  | { readonly kind: "version" }
  | { readonly kind: "tags"; readonly name: string }
  | { readonly kind: "manifest"; readonly name: string; readonly reference: TagOrDigest }
  | { readonly kind: "blob"; readonly name: string; readonly digest: Digest };

/** What names a manifest within its repository. */
export type TagOrDigest = { readonly tag: string } | { readonly digest: Digest };

const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/** A name holds a host beside the path, which alone may have 255 characters (C-151). */
const NAME_LENGTH_MAX = 512;

/**
 * Reads the path of a request. It is read once, after the URL parser has resolved dot segments, and
 * nothing else looks at the path, so no two parts of the registry can disagree about it (B-4).
 *
 * The last two segments say what is wanted, for `manifests`, `blobs` and `tags` are good parts of a
 * repository's name as well (S-69).
 *
 * @throws {WireError} for a path that names nothing this registry has
 */
export function parseRoute(pathname: string): Route {
  if (pathname === "/v2/" || pathname === "/v2") return { kind: "version" };
  const path = unescapeColons(pathname);
  const [, rest] = /^\/v2\/(.+)$/.exec(path) ?? [];
  const [, name, verb, last] = /^(.+)\/([^/]+)\/([^/]+)$/.exec(rest ?? "") ?? [];
  if (name === undefined || verb === undefined || last === undefined) throw unknown();
  if (verb === "tags" && last === "list") return { kind: "tags", name: checkName(name) };
  if (verb === "manifests") {
    return { kind: "manifest", name: checkName(name), reference: parseTagOrDigest(last) };
  }
  if (verb === "blobs") {
    return { kind: "blob", name: checkName(name), digest: checkDigest(last) };
  }
  throw unknown();
}

/** The only escape that a client has reason to send is that of the colon in a digest (B-4). */
function unescapeColons(pathname: string): string {
  const path = pathname.replace(/%3a/gi, ":");
  if (/%|\/\/|\\/.test(path)) {
    throw new WireError("NAME_INVALID", "the path has an escape or an empty segment");
  }
  return path;
}

function checkName(name: string): string {
  if (name.length <= NAME_LENGTH_MAX && NAME.test(name)) return name;
  throw new WireError("NAME_INVALID", "the name of the repository breaks the grammar");
}

function checkDigest(text: string): Digest {
  const digest = tryParseDigest(text);
  if (digest !== undefined) return digest;
  throw new WireError("DIGEST_INVALID", "the digest is not sha256 or sha512 in lower-case hex");
}

function parseTagOrDigest(text: string): TagOrDigest {
  if (text.includes(":")) return { digest: checkDigest(text) };
  if (TAG.test(text)) return { tag: text };
  throw new WireError("MANIFEST_UNKNOWN", "there is no such tag");
}

function unknown(): WireError {
  return new WireError("NAME_UNKNOWN", "this registry has no such path");
}
