/**
 * Tells whether a name matches one of Harbor's patterns, as Harbor's own matcher decides
 * (`src/lib/selector/selectors/doublestar`, bmatcuk/doublestar): `*` and `?` stay within a segment of
 * the path, a segment `**` stands for any number of them, `[a-z]` and `[^a-z]` for one character,
 * `{a,b}` for one of several, `\` takes the next character as it is. The empty pattern matches all;
 * what is no pattern matches nothing.
 *
 * A pattern is somebody else's text: what it costs is bounded by pattern times name.
 */
export function matchesDoublestar(pattern: string, name: string): boolean {
  if (pattern === "") return true;
  if (pattern.length > PATTERN_CHARACTERS_MAX) return false;
  const segments = splitUnescaped(pattern, "/").map(parseSegment);
  if (!segments.every((segment) => segment !== undefined)) return false;
  // `a/**` is all below `a`, and not `a`.
  if (segments.at(-1) === "any") segments.push(() => true);
  return matchesAll(segments, name.split("/"));
}

/** Harbor keeps patterns in 255 characters. */
const PATTERN_CHARACTERS_MAX = 1_000;

/** The braces of one segment may stand for so many texts. */
const ALTERNATIVES_MAX = 64;

/** A place in a pattern: one item that is so, or any number of any items. */
type Place<T> = "any" | ((item: T) => boolean);

/** Undefined for what is no pattern. */
function parseSegment(pattern: string): Place<string> | undefined {
  if (pattern === "**") return "any";
  const alternatives = expandBraces(pattern)?.map(parseCharacters);
  if (alternatives === undefined) return undefined;
  const valid = alternatives.filter((places) => places !== undefined);
  if (valid.length < alternatives.length) return undefined;
  return (segment) => valid.some((places) => matchesAll(places, [...segment]));
}

/**
 * Whether items, in their order, fill all places. How many places the items so far can have filled is
 * known at each item, so that nothing is tried twice.
 */
function matchesAll<T>(places: readonly Place<T>[], items: readonly T[]): boolean {
  let filled = new Set([0]);
  for (const item of items) {
    const next = new Set<number>();
    for (const at of passEmpty(filled, places)) {
      const place = places[at];
      if (place === "any") next.add(at);
      else if (place?.(item)) next.add(at + 1);
    }
    filled = next;
  }
  return passEmpty(filled, places).has(places.length);
}

/** A place for any number of items is also filled by none. */
function passEmpty<T>(filled: Set<number>, places: readonly Place<T>[]): Set<number> {
  // A set also hands out what is added while it is walked.
  for (const at of filled) if (places[at] === "any") filled.add(at + 1);
  return filled;
}

/** The texts that a segment with `{a,b}` stands for; undefined when a brace is not closed, or for too many. */
function expandBraces(pattern: string): readonly string[] | undefined {
  const open = indexUnescaped(pattern, "{");
  if (open === -1) return [pattern];
  const length = indexUnescaped(pattern.slice(open + 1), "}");
  if (length === -1) return undefined;
  const close = open + 1 + length;
  const rests = expandBraces(pattern.slice(close + 1));
  if (rests === undefined) return undefined;
  const options = splitUnescaped(pattern.slice(open + 1, close), ",");
  if (options.length * rests.length > ALTERNATIVES_MAX) return undefined;
  const start = pattern.slice(0, open);
  return options.flatMap((option) => rests.map((rest) => `${start}${option}${rest}`));
}

const CHARACTER = /\\(.)|\[([\^!]?)((?:\\.|[^\]\\])+)\]|([^[\\])/suy;

/** Undefined for a class that is empty or not closed, and for a `\` before nothing. */
function parseCharacters(pattern: string): readonly Place<string>[] | undefined {
  const places: Place<string>[] = [];
  let at = 0;
  while (at < pattern.length) {
    CHARACTER.lastIndex = at;
    const match = CHARACTER.exec(pattern);
    if (match === null) return undefined;
    at = CHARACTER.lastIndex;
    const [, escaped, negation, set, plain] = match;
    const place = set === undefined ? parsePlain(escaped, plain) : parseClass(set, negation !== "");
    if (place === undefined) return undefined;
    places.push(place);
  }
  return places;
}

function parsePlain(escaped: string | undefined, plain: string | undefined): Place<string> {
  if (escaped === undefined && plain === "*") return "any";
  if (escaped === undefined && plain === "?") return () => true;
  const wanted = escaped ?? plain;
  return (character) => character === wanted;
}

const RANGE = /(\\.|[^\\-])(?:-(\\.|[^\\-]))?/suy;

function parseClass(set: string, isNegated: boolean): Place<string> | undefined {
  const ranges: (readonly [low: string, high: string])[] = [];
  let at = 0;
  while (at < set.length) {
    RANGE.lastIndex = at;
    const [all = "", low = "", high = low] = RANGE.exec(set) ?? [];
    if (all === "") return undefined;
    at += all.length;
    ranges.push([low.replace(/^\\/, ""), high.replace(/^\\/, "")]);
  }
  return (character) => {
    const code = character.codePointAt(0) ?? 0;
    const isIn = ranges.some(([low, high]) => codeOf(low) <= code && code <= codeOf(high));
    return isIn !== isNegated;
  };
}

function codeOf(character: string): number {
  return character.codePointAt(0) ?? 0;
}

/** The place of a character that no `\` stands before; -1 without one. */
function indexUnescaped(text: string, wanted: string): number {
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === "\\") i += 1;
    else if (text[i] === wanted) return i;
  }
  return -1;
}

function splitUnescaped(text: string, separator: string): string[] {
  const parts: string[] = [];
  let rest = text;
  for (;;) {
    const at = indexUnescaped(rest, separator);
    if (at === -1) return [...parts, rest];
    parts.push(rest.slice(0, at));
    rest = rest.slice(at + 1);
  }
}
