/** One way in which a server says that a request may be authorised (RFC 9110, section 11.6.1). */
export interface Challenge {
  /** In lower case: `basic`, `bearer`, or one that we do not know. */
  readonly scheme: string;
  /** Names in lower case; quoting and escapes are undone. The first of repeated names stands. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** A header longer than this is not read: real ones have a few hundred characters. */
const HEADER_CHARACTERS_MAX = 16 * 1024;

const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const PARAMETER =
  /([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|((?!=)[^\s,"]*))/sy;
const SPACES = /[ \t]*/y;
const SEPARATORS = /[ \t,]*/y;

/**
 * Reads `WWW-Authenticate` (C-1, C-2, C-3): several challenges, as several lines that were joined by
 * commas or in one; commas within quotes are data; parameters in any order, quoted or not.
 *
 * @returns undefined when the header breaks the grammar, for instance by a quote that is never closed
 */
export function parseChallenges(header: string): readonly Challenge[] | undefined {
  if (header.length > HEADER_CHARACTERS_MAX) return undefined;
  const challenges: Challenge[] = [];
  const cursor = new Cursor(header);
  cursor.take(SEPARATORS);
  while (!cursor.atEnd) {
    const scheme = cursor.take(TOKEN)?.[0];
    if (scheme === undefined) return undefined;
    const hadSpace = (cursor.take(SPACES)?.[0] ?? "") !== "";
    const parameters = readParameters(cursor, hadSpace);
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
    if (!cursor.atSeparator) return undefined;
    cursor.take(SEPARATORS);
  }
  return challenges;
}

/** Parameters up to the next scheme: a word that is followed by no `=` begins the next challenge. */
function readParameters(cursor: Cursor, hadSpace: boolean): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  if (!hadSpace) return parameters;
  let parameter = cursor.take(PARAMETER);
  if (parameter === undefined) cursor.take(TOKEN68);
  while (parameter !== undefined) {
    const name = (parameter[1] ?? "").toLowerCase();
    const value = parameter[2]?.replace(/\\(.)/gs, "$1") ?? parameter[3] ?? "";
    if (!parameters.has(name)) parameters.set(name, value);
    cursor.take(SPACES);
    if (!cursor.atSeparator) return parameters;
    const end = cursor.position;
    cursor.take(SEPARATORS);
    parameter = cursor.take(PARAMETER);
    if (parameter === undefined) cursor.position = end;
  }
  return parameters;
}

class Cursor {
  readonly #text: string;
  position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.position >= this.#text.length;
  }

  get atSeparator(): boolean {
    return this.atEnd || this.#text[this.position] === ",";
  }

  /** What the sticky pattern matches here; the cursor is behind it then. */
  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.#text);
    if (match === null) return undefined;
    this.position = pattern.lastIndex;
    return match;
  }
}

/** A challenge that we can answer. */
export type UsableChallenge =
  | { readonly scheme: "basic" }
  | {
      readonly scheme: "bearer";
      readonly realm: string;
      readonly service?: string;
      /** The scopes that the challenge names, in its order. */
      readonly scopes: readonly string[];
      /** `insufficient_scope`, `invalid_token` (RFC 6750), or whatever the server says. */
      readonly error?: string;
    };

/**
 * The best challenge of a header: Bearer before Basic, unknown schemes are passed over (C-4), a
 * Bearer challenge without realm is none (C-5).
 */
export function chooseChallenge(header: string): UsableChallenge | undefined {
  const challenges = parseChallenges(header) ?? [];
  for (const { scheme, parameters } of challenges) {
    const realm = parameters.get("realm") ?? "";
    if (scheme !== "bearer" || realm === "") continue;
    const service = parameters.get("service");
    const error = parameters.get("error");
    return {
      scheme,
      realm,
      ...(service === undefined ? {} : { service }),
      scopes: (parameters.get("scope") ?? "").split(" ").filter((scope) => scope !== ""),
      ...(error === undefined ? {} : { error }),
    };
  }
  return challenges.some(({ scheme }) => scheme === "basic") ? { scheme: "basic" } : undefined;
}
