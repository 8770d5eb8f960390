import { isFailure } from "#base";
import { entryOf, type JournalEntry } from "#daemon";
import { openStore } from "#store";
import { AgentClient } from "./agent-client.ts";
import type { AgentPlaceOptions } from "./agent-options.ts";
import { agentPlace, dataDirOf } from "./agent-place.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { entryLines, journalTime } from "./journal-text.ts";
import type { OutputFormat } from "./plan.ts";

/** The words of `dray journal` on the command line. */
export interface JournalCommandOptions extends AgentPlaceOptions {
  readonly output: OutputFormat;
  readonly lines: number;
  readonly before?: number;
  readonly kind?: readonly string[];
  readonly follow?: boolean;
}

/** Lines of one page. */
const PAGE_ENTRIES = 500;

/** `dray journal`: what happened at this site, the newest first; from its agent, else from its store. */
export async function runJournal(
  options: JournalCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { output, before, lines, kind: kinds } = options;
  const client = new AgentClient(agentPlace(options, context), context);
  if (options.follow === true) return await follow(client, options, context);
  const wanted = { before, lines, kinds };
  const entries = await fromAgent(client, wanted).catch((error: unknown) => {
    // The journal is there without an agent too, but not at an address.
    if (options.agent !== undefined || !isFailure(error, "agent-missing")) throw error;
    return fromStore(dataDirOf(options, context).path, wanted, context);
  });
  context.out(output === "json" ? formatJson(entries) : entries.map(formatEntry).join(""));
  return EXIT.done;
}

/** Which lines are asked for. */
interface Wanted {
  readonly lines: number;
  readonly before: number | undefined;
  readonly kinds: readonly string[] | undefined;
}

function fromAgent(client: AgentClient, wanted: Wanted): Promise<readonly JournalEntry[]> {
  const { kinds } = wanted;
  // The agent tells all kinds; of few among many it needs several pages.
  return paged(wanted, async (before, missing) => {
    const page = await client.journal({
      before,
      limit: kinds === undefined ? Math.min(missing, PAGE_ENTRIES) : PAGE_ENTRIES,
    });
    return {
      last: page.at(-1)?.id,
      entries: page.filter(({ kind }) => kinds === undefined || kinds.includes(kind)),
    };
  });
}

async function fromStore(
  dataDir: string,
  wanted: Wanted,
  { clock }: CliContext,
): Promise<readonly JournalEntry[]> {
  const { kinds } = wanted;
  await using store = await openStore(dataDir, { clock, readOnly: true });
  return await paged(wanted, async (before, missing) => {
    const page = await store.journal.read({
      limit: missing,
      ...(before === undefined ? {} : { before }),
      ...(kinds === undefined ? {} : { kinds }),
    });
    return { last: page.at(-1)?.id, entries: page.map(entryOf) };
  });
}

/** Reads page after page until there are enough lines, or no more. */
async function paged(
  { lines, before }: Wanted,
  read: (
    before: number | undefined,
    missing: number,
  ) => Promise<{ readonly last: number | undefined; readonly entries: readonly JournalEntry[] }>,
): Promise<readonly JournalEntry[]> {
  const all: JournalEntry[] = [];
  for (let last = before; all.length < lines; ) {
    const page = await read(last, lines - all.length);
    // A page that does not go back would be read for ever.
    if (page.last === undefined || (last !== undefined && page.last >= last)) break;
    all.push(...page.entries);
    last = page.last;
  }
  return all.slice(0, lines);
}

/** Prints the last lines and then what happens, the newest last, until it is interrupted. */
async function follow(
  client: AgentClient,
  { output, lines, kind: kinds }: JournalCommandOptions,
  { out, signal }: CliContext,
): Promise<ExitCode> {
  let last: number | undefined;
  const tell = (entry: JournalEntry) => {
    last = Math.max(last ?? 0, entry.id);
    if (kinds !== undefined && !kinds.includes(entry.kind)) return;
    out(output === "json" ? `${JSON.stringify(jsonEntry(entry))}\n` : formatEntry(entry));
  };
  try {
    for await (const telling of client.follow()) {
      // The stream begins with a state: what is written from here on comes by it, and the rest is read.
      if (last === undefined) {
        last = 0;
        const earlier = await fromAgent(client, { lines, kinds, before: undefined });
        for (const entry of earlier.toReversed()) tell(entry);
      }
      if (telling.type === "journal" && telling.entry.id > last) tell(telling.entry);
    }
    return EXIT.done;
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    throw error;
  }
}

function formatJson(entries: readonly JournalEntry[]): string {
  const answer = {
    ...{ apiVersion: "drayage/v1", kind: "Journal" },
    entries: entries.map(jsonEntry),
  };
  return `${JSON.stringify(answer, null, 2)}\n`;
}

function jsonEntry({ id, at, kind, text, level, by, data }: JournalEntry) {
  return { id, at: journalTime(at), kind, text, level, by, data };
}

function formatEntry(entry: JournalEntry): string {
  return entryLines(entry)
    .map((line) => `${line}\n`)
    .join("");
}
