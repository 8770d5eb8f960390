import {
  type Document,
  type ErrorCode,
  isCollection,
  isNode,
  isPair,
  isScalar,
  type ParsedNode,
  type YAMLParseError,
} from "yaml";

/** What is wrong with the syntax of a document, in words of our own, and at which offset of it. */
export interface SyntaxFault {
  readonly offset: number;
  readonly state: string;
}

/** How many faults of one broken document are worth telling; the rest follow from the first. */
const FAULTS_MAX = 5;

/**
 * The faults of a document that are worth telling. What the parser finds in the line of another fault
 * or in the next one follows from that. Its own messages quote what may be a piece of a password, so
 * nothing of them is shown.
 */
export function syntaxFaults(document: Document.Parsed, text: string): readonly SyntaxFault[] {
  const { errors } = document;
  return errors
    .filter(({ pos }, i) => !followsFrom(errors[i - 1], pos[0], text))
    .slice(0, FAULTS_MAX)
    .map((error) => describe(error, document, text));
}

function followsFrom(before: YAMLParseError | undefined, at: number, text: string): boolean {
  if (before === undefined) return false;
  const [from, to] = [Math.min(before.pos[0], at), Math.max(before.pos[0], at)];
  const firstBreak = text.indexOf("\n", from);
  const secondBreak = firstBreak === -1 ? -1 : text.indexOf("\n", firstBreak + 1);
  return secondBreak === -1 || secondBreak >= to;
}

function describe(
  { code, message, pos }: YAMLParseError,
  document: Document.Parsed,
  text: string,
): SyntaxFault {
  const [offset] = pos;
  if (UNCLOSED.test(message)) {
    const opened = findUnclosed(document, offset, text);
    if (opened !== undefined)
      return { offset: opened, state: "the quote or bracket that opens here is never closed" };
  }
  const told = STATES_BY_MESSAGE.find(([pattern]) => pattern.test(message))?.[1];
  return { offset, state: told ?? STATES[code] ?? "what stands here does not belong here" };
}

const UNCLOSED = /^Missing closing|^Flow \w+ .*end with/;

/** Codes that say too little; the parser's message begins with what is missing or too much. */
const STATES_BY_MESSAGE: readonly (readonly [RegExp, string])[] = [
  [UNCLOSED, "a quote or bracket before this is never closed"],
  [/^Sequence item without/, "the line is indented like the items of a list, but has no -"],
  [/^Implicit map keys need/, "a key stands here without a colon after it"],
  [/^Missing , /, "a comma is missing before this"],
  [/^Comments must/, "a # without a blank before it begins no comment"],
  [/^Block scalar header/, "the text after | or > belongs into the next line, indented"],
];

const STRAY_PROPERTY = "an anchor (&), alias (*) or tag (!) stands where it can mean nothing";

const STATES: Readonly<Partial<Record<ErrorCode, string>>> = {
  TAB_AS_INDENT: "a tab indents the line, expected blanks",
  BAD_INDENT: "the line is indented otherwise than the ones that it belongs to",
  BLOCK_AS_IMPLICIT_KEY:
    'a second "key: value" begins inside of a value: its line is indented too far, or the value needs quotes',
  MULTILINE_IMPLICIT_KEY: "a colon, comma or dash is missing in this line or in the next one",
  BLOCK_IN_FLOW: "a comma is missing, or indented lines stand inside of brackets",
  KEY_OVER_1024_CHARS: "the key is longer than 1024 characters",
  BAD_SCALAR_START: "a text that begins with this character must be quoted",
  BAD_DQ_ESCAPE: "the backslash begins no escape; write it twice, or use single quotes",
  BAD_ALIAS: "an & or * stands without a name; a text that begins with it must be quoted",
  TAG_RESOLVE_FAILED: "the tag that ! begins is unknown; a text that begins with ! must be quoted",
  ALIAS_PROPS: STRAY_PROPERTY,
  BAD_PROP_ORDER: STRAY_PROPERTY,
  MULTIPLE_ANCHORS: STRAY_PROPERTY,
  MULTIPLE_TAGS: STRAY_PROPERTY,
  BAD_DIRECTIVE: "a line that begins with % is no directive that YAML knows",
};

/**
 * Where the innermost quote or bracket opens that is still open at an offset. The library's own `visit`
 * copies the path at every node: 4,000 open braces took it 12 s.
 */
function findUnclosed(document: Document.Parsed, offset: number, text: string): number | undefined {
  let found: number | undefined;
  const left: unknown[] = [document.contents];
  while (left.length > 0) {
    const node = left.pop();
    if (isPair(node)) left.push(node.key, node.value);
    if (!isNode(node)) continue;
    if (isCollection(node)) for (const item of node.items) left.push(item);
    const [start, end] = (node as ParsedNode).range ?? [0, 0];
    const closing = closingOf(text[start]);
    const isOpener = isScalar(node) ? closing !== undefined : isCollection(node) && node.flow;
    if (!isOpener || start >= offset || end < offset - 1) continue;
    const isClosed = end > start + 1 && text[end - 1] === closing;
    if (!isClosed && start > (found ?? -1)) found = start;
  }
  return found;
}

function closingOf(opening: string | undefined): string | undefined {
  const at = "\"'[{".indexOf(opening ?? "");
  return opening === undefined || at === -1 ? undefined : "\"']}"[at];
}
