import { backoffMs, isFailure, printable } from "#base";
import type { JournalEntry, SiteState } from "#daemon";
import type { AgentClient, AgentTelling } from "./agent-client.ts";
import { type CliContext, EXIT, type ExitCode, type Screen } from "./context.ts";
import { entryLines } from "./journal-text.ts";
import type { OutputFormat } from "./plan.ts";
import { cut } from "./screen-text.ts";
import { statusLines, viewOf } from "./status-text.ts";

/** Between attempts to find an agent again that was there. */
const AGAIN = { firstMs: 1_000, maxMs: 15_000 };

/** Ages grow, also when nothing happens. */
const TICK_MS = 1_000;

/** Lines of the journal that a screen may have room for. */
const ENTRIES_MAX = 30;

/** Shows what an agent tells, until it is closed. */
interface Watcher {
  hear(telling: AgentTelling): void;
  /** Nobody tells anything at the moment, and why. */
  lost(why: string): void;
  tick(): void;
  close(): void;
}

/**
 * Follows the state of a site until it is interrupted. An agent that was there once is waited for.
 *
 * @throws {Failure} what the agent answers; `agent-missing` and its like when it was never there
 */
export async function watchStatus(
  client: AgentClient,
  output: OutputFormat,
  context: CliContext,
): Promise<ExitCode> {
  const { clock, random, signal } = context;
  const earlier = output === "json" || context.screen === undefined ? [] : await newest(client);
  const watcher = createWatcher(output, context, earlier);
  const done = new AbortController();
  const ticking = tickUntil(AbortSignal.any([signal, done.signal]), watcher, context);
  let hasBegun = false;
  let attempt = 0;
  try {
    for (;;) {
      const why = await follow();
      attempt += 1;
      watcher.lost(why);
      await clock.sleep(backoffMs(attempt, random(), AGAIN), signal);
    }
  } catch (error) {
    if (signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    done.abort();
    await ticking;
    watcher.close();
  }

  async function follow(): Promise<string> {
    try {
      for await (const telling of client.follow()) {
        hasBegun = true;
        attempt = 0;
        watcher.hear(telling);
      }
      return `The agent at ${client.name} ended the connection`;
    } catch (error) {
      if (hasBegun && isFailure(error) && error.transient) return error.message;
      throw error;
    }
  }
}

/** What happened last, for a screen with room for it; it goes without. */
async function newest(client: AgentClient): Promise<readonly JournalEntry[]> {
  try {
    return await client.journal({ limit: ENTRIES_MAX });
  } catch (error) {
    if (isFailure(error)) return [];
    throw error;
  }
}

async function tickUntil(
  signal: AbortSignal,
  watcher: Watcher,
  { clock }: CliContext,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(TICK_MS, signal).catch(() => undefined);
    if (!signal.aborted) watcher.tick();
  }
}

function createWatcher(
  output: OutputFormat,
  context: CliContext,
  earlier: readonly JournalEntry[],
): Watcher {
  if (output === "json") return createJsonWatcher(context);
  return context.screen === undefined
    ? createLineWatcher(context)
    : createScreenWatcher(context, context.screen, earlier);
}

function createJsonWatcher({ out, err }: CliContext): Watcher {
  return {
    hear: (telling) => out(`${JSON.stringify(telling)}\n`),
    lost: (why) => err(`${why}\n`),
    tick: () => undefined,
    close: () => undefined,
  };
}

/** A log is told a new sentence not more often than this, while the level and the work stay the same. */
const SENTENCE_MS = 10_000;

function createLineWatcher({ out, err, clock }: CliContext): Watcher {
  let state: SiteState | undefined;
  let told: { readonly kind: string; readonly sentence: string; readonly atMs: number } | undefined;
  const tell = () => {
    if (state === undefined) return;
    const { at, verdict, activity } = state;
    const [kind, sentence] = [
      `${verdict.level} ${activity.name}`,
      printable(verdict.sentence, 600),
    ];
    const isNew = told?.kind !== kind;
    const isDue = clock.monotonic() - (told?.atMs ?? 0) >= SENTENCE_MS;
    if (!isNew && (told?.sentence === sentence || !isDue)) return;
    told = { kind, sentence, atMs: clock.monotonic() };
    out(`${new Date(at).toISOString()}  ${verdict.level.toUpperCase()}  ${sentence}\n`);
  };
  return {
    hear(telling) {
      if (telling.type === "state") state = telling.state;
      else for (const line of entryLines(telling.entry)) out(`${line}\n`);
      tell();
    },
    lost: (why) => err(`${why}\n`),
    tick: tell,
    close: () => undefined,
  };
}

/** Code units that xterm and its like understand: another screen and back, the cursor away and back. */
const OPEN_SCREEN = "\x1b[?1049h\x1b[?25l";
const CLOSE_SCREEN = "\x1b[?25h\x1b[?1049l";

function createScreenWatcher(
  context: CliContext,
  screen: Screen,
  earlier: readonly JournalEntry[],
): Watcher {
  const { out, clock } = context;
  let entries = earlier;
  let last: { readonly state: SiteState; readonly atMs: number } | undefined;
  let trouble: string | undefined;
  let isOpen = false;

  const draw = () => {
    if (last === undefined) return;
    const { state, atMs } = last;
    // Ages grow by this machine's time; the clocks of the two may differ.
    const view = viewOf(state.at + clock.monotonic() - atMs, context);
    const room = Math.max(1, screen.rows() - 1);
    const lines = [...statusLines(state, view)];
    const foot =
      trouble === undefined ? [] : ["", view.paint("bad", cut(trouble, view.columns - 1))];
    const told = entries.map((entry) => cut(entryLines(entry)[0] ?? "", view.columns - 1));
    const left = room - lines.length - foot.length - 1;
    if (left > 1) lines.push("", ...told.slice(0, left));
    const shown = [...lines.slice(0, room - foot.length), ...foot];
    // ECMA-48: home; after each line erase its rest; in the end erase what is below.
    out(
      `${isOpen ? "" : OPEN_SCREEN}\x1b[H${shown.map((line) => `${line}\x1b[K\n`).join("")}\x1b[J`,
    );
    isOpen = true;
  };

  return {
    hear(telling) {
      trouble = undefined;
      if (telling.type === "state") last = { state: telling.state, atMs: clock.monotonic() };
      else entries = [telling.entry, ...entries].slice(0, ENTRIES_MAX);
      draw();
    },
    lost(why) {
      trouble = why;
      draw();
    },
    tick: draw,
    close() {
      if (isOpen) out(CLOSE_SCREEN);
      // What was seen last stays to be read.
      if (last === undefined) return;
      const lines = statusLines(last.state, viewOf(last.state.at, context));
      out(lines.map((line) => `${line}\n`).join(""));
    },
  };
}
