/** Lines around a change that are shown with it. */
const CONTEXT = 3;

/** Above so many comparisons two texts count as wholly different; files of mirrors are far smaller. */
const COMPARISONS_MAX = 4_000_000;

interface DiffLine {
  readonly sign: " " | "-" | "+";
  readonly text: string;
}

/**
 * A unified diff, as `diff -u` and `patch` have it, or nothing when the texts are the same.
 *
 * @param before undefined for a file that is made
 * @param after undefined for a file that is removed
 */
export function unifiedDiff(
  file: string,
  before: string | undefined,
  after: string | undefined,
): string {
  if (before === after) return "";
  const lines = compare(splitLines(before ?? ""), splitLines(after ?? ""));
  const from = before === undefined ? "/dev/null" : file;
  const to = after === undefined ? "/dev/null" : file;
  return `--- ${from}\n+++ ${to}\n${hunks(lines).join("")}`;
}

/** Lines with their ends, so that a last one without an end is told from one with it. */
function splitLines(text: string): readonly string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function compare(before: readonly string[], after: readonly string[]): readonly DiffLine[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  const rest = Math.min(before.length, after.length) - head;
  while (tail < rest && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const same = (text: string): DiffLine => ({ sign: " ", text });
  return [
    ...before.slice(0, head).map(same),
    ...compareMiddle(
      before.slice(head, before.length - tail),
      after.slice(head, after.length - tail),
    ),
    ...before.slice(before.length - tail).map(same),
  ];
}

/** By the longest common subsequence. */
function compareMiddle(before: readonly string[], after: readonly string[]): readonly DiffLine[] {
  const width = after.length + 1;
  const isWhole = before.length * after.length > COMPARISONS_MAX;
  const lengths = new Uint32Array(isWhole ? 0 : (before.length + 1) * width);
  const at = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = before.length - 1; i >= 0 && !isWhole; i -= 1) {
    for (let j = after.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: DiffLine[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    const [removed, added] = [before[i], after[j]];
    if (!isWhole && removed !== undefined && removed === added) {
      lines.push({ sign: " ", text: removed });
      i += 1;
      j += 1;
    } else if (removed !== undefined && (added === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ sign: "-", text: removed });
      i += 1;
    } else {
      lines.push({ sign: "+", text: added ?? "" });
      j += 1;
    }
  }
  return lines;
}

function hunks(lines: readonly DiffLine[]): readonly string[] {
  const shown = lines.map((_, i) =>
    lines.slice(Math.max(0, i - CONTEXT), i + CONTEXT + 1).some(({ sign }) => sign !== " "),
  );
  const found: string[] = [];
  let [before, after] = [1, 1];
  for (let i = 0; i < lines.length; ) {
    let end = i;
    while (shown[end] === true) end += 1;
    const hunk = lines.slice(i, Math.max(end, i + 1));
    const removed = hunk.filter(({ sign }) => sign !== "+").length;
    const added = hunk.filter(({ sign }) => sign !== "-").length;
    if (end > i) {
      const head = `@@ -${range(before, removed)} +${range(after, added)} @@\n`;
      found.push(head + hunk.map(formatLine).join(""));
    }
    before += removed;
    after += added;
    i += hunk.length;
  }
  return found;
}

/** A range of no lines is told by the line before it. */
function range(start: number, count: number): string {
  return count === 0 ? `${start - 1},0` : `${start},${count}`;
}

function formatLine({ sign, text }: DiffLine): string {
  return text.endsWith("\n") ? `${sign}${text}` : `${sign}${text}\n\\ No newline at end of file\n`;
}
