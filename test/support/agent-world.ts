import {
  type Agent,
  type AgentSettings,
  createAgent,
  DEFAULT_AGENT_SETTINGS,
  type Part,
} from "#daemon";
import { createEventClock, type EventClock } from "./event-clock.ts";
import {
  createMemoryRecords,
  createMemorySite,
  type MemoryRecords,
  type MemorySite,
} from "./memory-operations.ts";

/** An agent at work on a site that lives in memory, and the time that passes for both. */
export interface AgentWorld {
  readonly clock: EventClock;
  readonly site: MemorySite;
  readonly records: MemoryRecords;
  readonly agent: Agent;
  /** Lets things happen, and time pass when nothing else does, until it is so. Throws when it never is. */
  until(what: string, isSo: () => boolean): Promise<void>;
  /** Lets things happen for so long. */
  pass(ms: number): Promise<void>;
  /** Ends the agent in order. */
  stop(): Promise<void>;
  /** Texts of the journal, oldest first, with their kinds: `agent-started: Agent 1.0 …`. */
  journal(): Promise<readonly string[]>;
}

/** What an agent of a test is given; the rest is as by default. */
export interface AgentWorldOptions {
  readonly settings?: Partial<AgentSettings>;
  readonly records?: MemoryRecords;
  readonly site?: MemorySite;
  readonly clock?: EventClock;
  readonly doors?: readonly Part[];
}

/** Monday noon, UTC. */
export const START_MS: number = Date.UTC(2026, 0, 5, 12);

/** So many turns of the event loop are enough for months of an idle agent. */
const TURNS_MAX = 30_000;

/** Starts an agent. Nothing happens before the test lets it. */
export function startAgent(options: AgentWorldOptions = {}): AgentWorld {
  const clock = options.clock ?? createEventClock(START_MS);
  const site = options.site ?? createMemorySite(clock);
  const records = options.records ?? createMemoryRecords(clock);
  if (options.settings !== undefined) {
    site.manner = { ...site.manner, settings: { ...DEFAULT_AGENT_SETTINGS, ...options.settings } };
  }
  const agent = createAgent({
    ...{ operations: site, records, clock },
    random: () => 0.5,
    ...{ version: "1.0", host: "edge-1", timeZone: "UTC" },
  });
  const end = new AbortController();
  const running = agent.run(end.signal, options.doors);
  running.catch(() => undefined);
  return {
    ...{ clock, site, records, agent },
    until: (what, isSo) =>
      clock.run(
        (async () => {
          for (let turn = 0; !isSo(); turn += 1) {
            if (turn > TURNS_MAX) throw new Error(`It never came to this: ${what}`);
            await new Promise((resolve) => setImmediate(resolve));
          }
        })(),
      ),
    pass: (ms) => clock.run(clock.sleep(ms, new AbortController().signal)),
    async stop() {
      end.abort(new Error("stop"));
      await clock.run(running);
    },
    async journal() {
      const entries = await agent.journal({ limit: 1_000 });
      return entries.map(({ kind, text }) => `${kind}: ${text}`).reverse();
    },
  };
}
