/**
 * The agent's HTTP API.
 *
 * @import {ActionName, ImageState, JournalEntry, SiteState, UplinkSlice} from "../state.ts"
 * @typedef {{user: string | null, role: "read" | "operate", login: "none" | "required"}} Me
 * @typedef {"active" | "staged"} Role which of the revisions
 * @typedef {{declared: string, source: string, stage: string, credential: string | null,
 *   local: string | null, because: readonly {rule: string, text: string}[], packs: readonly string[],
 *   at: readonly {file: string, line: number, column: number, path: string}[]}} Explanation
 */

/** The agent refused, or could not be reached. The message says why, the hint what to do. */
export class ApiFailure extends Error {
  /**
   * @param {number} status 0 when there was no answer
   * @param {string} code
   * @param {string} message
   * @param {string} hint
   */
  constructor(status, code, message, hint) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

/**
 * @param {string} path below `/api/v1/`
 * @param {RequestInit} [init]
 * @returns {Promise<any>}
 */
async function ask(path, init) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, init);
  } catch {
    throw new ApiFailure(0, "unreachable", "The agent does not answer", "It may be restarting");
  }
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const { code = "unknown", message = "", hint = "" } = body?.error ?? body ?? {};
  throw new ApiFailure(
    response.status,
    code,
    message || `The agent answered ${response.status}`,
    hint,
  );
}

/**
 * The header and the content type are what a page of another site can't send.
 *
 * @param {string} path
 * @param {unknown} body
 */
function post(path, body) {
  const headers = { "content-type": "application/json", "x-drayage": "1" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** @returns {Promise<Me>} */
export const getMe = () => ask("me");

/** @returns {Promise<SiteState>} */
export const getSite = () => ask("site");

/** @param {Role} role @returns {Promise<readonly ImageState[]>} */
export const getImages = async (role) => listOf(await ask(`images?revision=${role}`), "images");

/** @param {Role} role @param {string} reference @returns {Promise<Explanation>} */
export async function getExplanation(role, reference) {
  const answer = await ask(
    `images/explain?revision=${role}&reference=${encodeURIComponent(reference)}`,
  );
  // `dray explain` answers with all images of a name; a whole reference has one.
  return Array.isArray(answer) ? answer[0] : answer;
}

/** @param {number} hours @returns {Promise<readonly UplinkSlice[]>} */
export const getUplink = async (hours) => listOf(await ask(`uplink?hours=${hours}`), "slices");

/**
 * Newest first.
 *
 * @param {number} limit
 * @param {number} [before]
 * @returns {Promise<readonly JournalEntry[]>}
 */
export async function getJournal(limit, before) {
  const from = before === undefined ? "" : `&before=${before}`;
  return listOf(await ask(`journal?limit=${limit}${from}`), "entries");
}

/** @param {string} user @param {string} password */
export const login = (user, password) => post("login", { user, password });

export const logout = () => post("logout", {});

/** @param {ActionName} name */
export const act = (name) => post(`actions/${name}`, {});

/** A list, bare or under its name. @param {any} answer @param {string} name */
function listOf(answer, name) {
  return Array.isArray(answer) ? answer : (answer?.[name] ?? []);
}

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Follows the agent for as long as the page is open. A browser reconnects an event stream by itself,
 * but gives up for good on an answer that is an error, so a new one is opened here.
 *
 * @param {{
 *   state(state: SiteState): void,
 *   journal(entry: JournalEntry): void,
 *   connected(): void,
 *   lost(): void,
 * }} told
 * @returns {() => void} stops
 */
export function follow(told) {
  let pauseMs = FIRST_PAUSE_MS;
  /** @type {EventSource | undefined} */
  let source;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const open = () => {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("/api/v1/events");
    source.addEventListener("open", () => {
      pauseMs = FIRST_PAUSE_MS;
      told.connected();
    });
    source.addEventListener("state", ({ data }) => told.state(JSON.parse(data)));
    source.addEventListener("journal", ({ data }) => told.journal(JSON.parse(data)));
    source.addEventListener("error", () => {
      source?.close();
      told.lost();
      timer = setTimeout(open, pauseMs * (1 + Math.random() / 4));
      pauseMs = Math.min(LONGEST_PAUSE_MS, pauseMs * 2);
    });
  };
  const atOnce = () => {
    if (source?.readyState === EventSource.CLOSED) open();
  };
  window.addEventListener("online", atOnce);
  open();
  return () => {
    window.removeEventListener("online", atOnce);
    clearTimeout(timer);
    source?.close();
  };
}
