import { join } from "node:path";
import type { AgentNews, SiteState } from "#daemon";

/** Somebody who follows the events of an agent over its socket. */
export interface AgentFollower extends AsyncDisposable {
  /**
   * The first state that is so, from the one that holds now on.
   *
   * @throws {Error} that names what was awaited and the last state, when it never comes
   */
  untilState(what: string, isSo: (state: SiteState) => boolean): Promise<SiteState>;
  /**
   * What is made of the first event that something can be made of, from the one after this call on. All
   * that is told before it is let go.
   *
   * @throws {Error} as above
   */
  untilNews<T>(what: string, pick: (news: AgentNews) => T | undefined): Promise<T>;
}

/** More than anything takes that an agent does by itself, on a machine that is busy. */
const PATIENCE_MS = 90_000;

/** Follows the agent of a data folder, which must take requests by now. */
export async function followAgent(dataDir: string): Promise<AgentFollower> {
  const over = new AbortController();
  const response = await fetch("http://agent/api/v1/events", {
    unix: join(dataDir, "agent.sock"),
    signal: over.signal,
  });
  if (response.body === null) throw new Error(`no events: ${response.status}`);
  let last: SiteState | undefined;
  let ended: Error | undefined;
  const looks = new Set<(news: AgentNews) => void>();
  const ends = new Set<(error: Error) => void>();
  const reading = (async () => {
    try {
      for await (const news of newsIn(response.body as ReadableStream<Uint8Array>)) {
        if (news.type === "state") last = news.state;
        for (const look of [...looks]) look(news);
      }
      throw new Error("the agent ended them");
    } catch (cause) {
      ended = new Error(`The events came to an end: ${cause}`, { cause });
      for (const end of ends) end(ended);
    }
  })();
  const untilNews = async <T>(what: string, pick: (news: AgentNews) => T | undefined) => {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const never = (why: string) =>
      reject(new Error(`Never so: ${what} (${why})\n${JSON.stringify(last, null, 1)}`));
    const look = (news: AgentNews) => {
      const picked = pick(news);
      if (picked !== undefined) resolve(picked);
    };
    const end = (error: Error) => never(error.message);
    const timer = setTimeout(() => never(`not in ${PATIENCE_MS} ms`), PATIENCE_MS);
    looks.add(look);
    ends.add(end);
    if (ended !== undefined) end(ended);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      looks.delete(look);
      ends.delete(end);
    }
  };
  return {
    untilNews,
    async untilState(what, isSo) {
      if (last !== undefined && isSo(last)) return last;
      return untilNews(what, (news) =>
        news.type === "state" && isSo(news.state) ? news.state : undefined,
      );
    },
    async [Symbol.asyncDispose]() {
      over.abort();
      await reading;
    },
  };
}

/** Server-sent events (HTML, 9.2.6), as far as the agent uses them: one line of data each. */
async function* newsIn(body: ReadableStream<Uint8Array>): AsyncGenerator<AgentNews> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    const events = (text + decoder.decode(chunk, { stream: true })).split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const name = /^event: (.*)$/m.exec(event)?.[1];
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (name === undefined || data === undefined) continue;
      yield newsOf(name, JSON.parse(data));
    }
  }
}

function newsOf(name: string, value: unknown): AgentNews {
  switch (name) {
    case "state":
      return { type: "state", state: value as SiteState };
    case "journal":
      return { type: "journal", entry: value as Extract<AgentNews, { type: "journal" }>["entry"] };
    default:
      return {
        type: "delivery",
        event: value as Extract<AgentNews, { type: "delivery" }>["event"],
      };
  }
}
