import { type Digest, tryParseDigest } from "#oci";
import { WireError } from "./wire.ts";

/** What a request is for. */
export type Route =
  | { readonly kind: "version" }
  | { readonly kind: "catalog" }
  | { readonly kind: "tags"; readonly name: string }
  | { readonly kind: "manifest"; readonly name: string; readonly reference: TagOrDigest }
  | { readonly kind: "referrers"; readonly name: string; readonly digest: Digest }
  | { readonly kind: "blob"; readonly name: string; readonly digest: Digest }
  | { readonly kind: "uploads"; readonly name: string }
  | { readonly kind: "upload"; readonly name: string; readonly id: string };

/** A route that leads into a repository. */
export type RepositoryRoute = Extract<Route, { readonly name: string }>;

/** What names a manifest within its repository. */
export type TagOrDigest = { readonly tag: string } | { readonly digest: Digest };

const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/** A name holds a host beside the path, which alone may have 255 characters (C-151). */
const NAME_LENGTH_MAX = 512;

/** 128 bits in hex, as `Upload.id` is. What looks otherwise never becomes the name of a file (SEC-21). */
const UPLOAD_ID = /^[0-9a-f]{32}$/;

/**
 * Reads the path of a request. It is read once, after the URL parser has resolved dot segments, and
 * nothing else looks at the path, so no two parts of the registry can disagree about it (B-4).
 *
 * The last segments say what is wanted, for `manifests`, `blobs`, `uploads`, `tags` and `referrers` are
 * good parts of a repository's name as well (S-69).
 *
 * @throws {WireError} for a path that names nothing this registry has
 */
export function parseRoute(pathname: string): Route {
  if (pathname === "/v2/" || pathname === "/v2") return { kind: "version" };
  if (pathname === "/v2/_catalog") return { kind: "catalog" };
  const path = unescapeColons(pathname);
  const [, uploadsName] = /^\/v2\/(.+)\/blobs\/uploads\/?$/.exec(path) ?? [];
  if (uploadsName !== undefined) return { kind: "uploads", name: checkName(uploadsName) };
  const [, before, verb, last] = /^\/v2\/(.+)\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  if (before === undefined || verb === undefined || last === undefined) throw unknown();
  return readVerb(before, verb, last);
}

function readVerb(before: string, verb: string, last: string): Route {
  switch (verb) {
    case "manifests":
      return { kind: "manifest", name: checkName(before), reference: parseTagOrDigest(last) };
    case "blobs":
      return { kind: "blob", name: checkName(before), digest: checkDigest(last) };
    case "referrers":
      return { kind: "referrers", name: checkName(before), digest: checkDigest(last) };
    case "uploads": {
      const [, name] = /^(.+)\/blobs$/.exec(before) ?? [];
      if (name === undefined) throw unknown();
      return { kind: "upload", name: checkName(name), id: checkUploadId(last) };
    }
    case "tags":
      if (last === "list") return { kind: "tags", name: checkName(before) };
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

/** Whether a text can name a repository. */
export function isRepositoryName(text: string): boolean {
  return text.length <= NAME_LENGTH_MAX && NAME.test(text);
}

function checkName(name: string): string {
  if (isRepositoryName(name)) return name;
  throw new WireError("NAME_INVALID", "the name of the repository breaks the grammar");
}

/**
 * Reads a digest of a request.
 *
 * @throws {WireError} `DIGEST_INVALID`
 */
export function checkDigest(text: string): Digest {
  const digest = tryParseDigest(text);
  if (digest !== undefined) return digest;
  throw new WireError("DIGEST_INVALID", "the digest is not sha256 or sha512 in lower-case hex");
}

function checkUploadId(text: string): string {
  if (UPLOAD_ID.test(text)) return text;
  throw new WireError("BLOB_UPLOAD_UNKNOWN", "there is no such upload");
}

/** Whether a text can be a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

function parseTagOrDigest(text: string): TagOrDigest {
  if (text.includes(":")) return { digest: checkDigest(text) };
  if (isTag(text)) return { tag: text };
  throw new WireError("MANIFEST_UNKNOWN", "there is no such tag");
}

function unknown(): WireError {
  return new WireError("NAME_UNKNOWN", "this registry has no such path");
}
