/** Longer texts are no token that a header could carry. */
const TOKEN_CHARACTERS_MAX = 16_384;

/** The last moment that a date can name (ECMA-262, 21.4.1.1), in seconds since 1970. */
const SECONDS_MAX = 8.64e12;

/**
 * When a token says that it ends (`exp` of a JWT, RFC 7519, 4.1.4), in milliseconds since 1970;
 * undefined for what is no JWT or names no end. Nothing of it is verified: it is our own token, and
 * this is a hint for people.
 */
export function tokenEndsMs(token: string): number | undefined {
  if (token.length > TOKEN_CHARACTERS_MAX) return undefined;
  const [, payload] = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token) ?? [];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
    const exp = typeof claims === "object" && claims !== null && "exp" in claims && claims.exp;
    if (typeof exp !== "number" || !(exp >= 0 && exp <= SECONDS_MAX)) return undefined;
    return Math.round(exp * 1_000);
  } catch {
    // Three words with dots between them are no token yet.
    return undefined;
  }
}
