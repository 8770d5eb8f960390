import { Connection } from "./connection.ts";
import type { Endurance } from "./endurance.ts";
import { openSocket } from "./open-socket.ts";
import type { Trust } from "./trust.ts";

/** What a connection is to carry, and what those of its kind do. */
export interface Load {
  readonly bytes: number;
  readonly endurance: Endurance;
  /** What breaks so soon teaches nothing of the host. */
  readonly isSmall: boolean;
}

/** Where a connection leads, and whom it trusts. */
export interface ConnectionGoal {
  readonly url: URL;
  readonly trust: Trust;
}

/** Where a connection is to lead to, and what it is to carry. */
export interface ConnectionNeed extends ConnectionGoal {
  /** Where the endurance of the host is known. */
  readonly load?: Load;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
}

interface Resting {
  readonly goal: ConnectionGoal;
  readonly connection: Connection;
}

interface Waiting extends PromiseWithResolvers<Connection> {
  readonly goal: ConnectionNeed;
}

interface Opening {
  readonly goal: ConnectionGoal;
  readonly controller: AbortController;
  readonly beganMs: number;
}

/**
 * A request counts on what another began to open, but not on what has tried for so long: where the link
 * is down its next try is ever further away, and the link may be up again before.
 */
const PROMISING_MS = 1_000;

/**
 * Connections for requests, one after the other. A request waits for whichever is there first: one that
 * was opened, for it or for another, or one that another gives back; what comes too late rests for who
 * is next. From a host that is far away that saves the round trips of a connection whenever an answer is
 * followed by the next question.
 */
export class ConnectionPool {
  readonly #open: typeof openConnection;
  readonly #now: () => number;
  /** What carries a request now. */
  readonly #taken = new Set<Connection>();
  #resting: readonly Resting[] = [];
  #waiting: readonly Waiting[] = [];
  #opening: readonly Opening[] = [];

  /** @param now milliseconds of a clock that never goes back: it measures sockets, and is real time */
  constructor(open: typeof openConnection = openConnection, now = () => performance.now()) {
    this.#open = open;
    this.#now = now;
  }

  /** @throws the socket's error with its `code`, or the signal's reason */
  async take(need: ConnectionNeed): Promise<Connection> {
    const { signal } = need;
    signal.throwIfAborted();
    const connection = this.#takeResting(need);
    if (connection !== undefined) return this.#take(connection);
    const waiting = { goal: need, ...Promise.withResolvers<Connection>() };
    const onAbort = () => {
      waiting.reject(signal.reason);
      this.#leave(waiting);
      if (this.#lacks(need, 0) < 0) this.#abandon(this.#opening.find(leadsTo(need)));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#waiting = [...this.#waiting, waiting];
    if (this.#lacks(need, this.#now() - PROMISING_MS) > 0) void this.#begin(need);
    try {
      const taken = await waiting.promise;
      if (signal.aborted) this.giveBack(taken, need);
      signal.throwIfAborted();
      return this.#take(taken);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Takes back a connection that has carried a request; one that is not free is closed. */
  giveBack(connection: Connection, goal: ConnectionGoal): void {
    this.#taken.delete(connection);
    if (connection.isFree) this.#offer(connection, goal);
    else connection.close();
  }

  /** Closes a connection that can carry no other request; who reads it gets the error, if there is one. */
  drop(connection: Connection, error?: unknown): void {
    this.#taken.delete(connection);
    connection.close(error);
  }

  /** Opens a connection for who is next. */
  prepare(goal: ConnectionGoal): void {
    void this.#begin(goal);
  }

  /** Ends all connections, also under answers that nobody reads to their end: they would keep the process. */
  close(): void {
    for (const connection of this.#taken) this.drop(connection);
    for (const { connection } of this.#resting) connection.close();
    this.#resting = [];
    for (const opening of this.#opening) this.#abandon(opening);
  }

  #take(connection: Connection): Connection {
    this.#taken.add(connection);
    return connection;
  }

  /** How many more wait than are being opened since then. */
  #lacks(goal: ConnectionGoal, sinceMs: number): number {
    const isLike = leadsTo(goal);
    const opening = this.#opening.filter((one) => isLike(one) && one.beganMs >= sinceMs);
    return this.#waiting.filter(isLike).length - opening.length;
  }

  async #begin(goal: ConnectionGoal): Promise<void> {
    const opening = { goal, controller: new AbortController(), beganMs: this.#now() };
    this.#opening = [...this.#opening, opening];
    try {
      const connection = await this.#open({ ...goal, signal: opening.controller.signal });
      if (opening.controller.signal.aborted) return connection.close();
      this.#end(opening);
      this.#offer(connection, goal);
    } catch (error) {
      if (opening.controller.signal.aborted) return;
      this.#end(opening);
      // Whom another is being opened for has its own error, or none, to wait for.
      if (this.#lacks(goal, 0) <= 0) return;
      const waiting = this.#waiting.find(leadsTo(goal));
      if (waiting !== undefined) this.#leave(waiting).reject(error);
    }
  }

  #abandon(opening: Opening | undefined): void {
    if (opening === undefined) return;
    // At once: who comes next must not count on it.
    this.#end(opening);
    opening.controller.abort();
  }

  #end(opening: Opening): void {
    this.#opening = this.#opening.filter((other) => other !== opening);
  }

  #offer(connection: Connection, goal: ConnectionGoal): void {
    const isLike = leadsTo(goal);
    const waiting = this.#waiting.find((one) => isLike(one) && bears(connection, one.goal));
    if (waiting !== undefined) {
      this.#leave(waiting).resolve(connection);
      return;
    }
    connection.rest();
    this.#resting = [...this.#resting, { goal, connection }];
  }

  #leave(waiting: Waiting): Waiting {
    this.#waiting = this.#waiting.filter((other) => other !== waiting);
    return waiting;
  }

  #takeResting(need: ConnectionNeed): Connection | undefined {
    for (const { connection } of this.#resting) if (!connection.isFree) connection.close();
    this.#resting = this.#resting.filter(({ connection }) => connection.isFree);
    const found = this.#resting.find(leadsTo(need));
    if (found === undefined) return undefined;
    this.#resting = this.#resting.filter((resting) => resting !== found);
    const { connection } = found;
    if (!bears(connection, need)) {
      // Another takes its place, so that such ones don't pile up.
      connection.close();
      return undefined;
    }
    connection.wakeUp();
    return connection;
  }
}

async function openConnection({
  url,
  trust,
  signal,
}: ConnectionGoal & { readonly signal: AbortSignal }): Promise<Connection> {
  return new Connection(await openSocket(url, trust, signal));
}

function leadsTo({ url: { origin }, trust }: ConnectionGoal) {
  return ({ goal }: { readonly goal: ConnectionGoal }): boolean =>
    goal.url.origin === origin && goal.trust === trust;
}

/** Whether it would not break under what it is to carry; no other bears more than a new one. */
function bears({ carriedBytes }: Connection, { load }: ConnectionNeed): boolean {
  if (load === undefined || carriedBytes === 0) return true;
  return carriedBytes + load.bytes <= load.endurance.connectionBytesMax;
}
