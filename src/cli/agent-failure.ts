import { Failure, printable, quoted, systemErrorCode } from "#base";
import { isJsonObject } from "#oci";
import type { AgentPlace } from "./agent-place.ts";

/** Code units of a message or a hint that an agent sent. */
const TEXT_MAX = 1_000;

/** The reason with which a request is ended that got no answer in time. */
export const SILENT: Error = new Error("silent");

/** How messages name the agent. */
export function placeName(place: AgentPlace): string {
  return quoted(place.kind === "socket" ? place.path : place.origin);
}

/** Why nobody answered, from what `fetch` threw. */
export function connectionFailure(place: AgentPlace, cause: unknown): Failure {
  const code = cause === SILENT ? "silent" : (systemErrorCode(cause) ?? "connection failed");
  const ask = `Cannot ask the agent at ${placeName(place)}`;
  const why = place.kind === "socket" ? ` (${place.because})` : "";
  if (cause === SILENT) {
    return new Failure({
      code: "agent-silent",
      message: `${ask}: it took the request, and gave no answer in time`,
      hint: "Look into its log with `journalctl -u drayage`; start it again if it hangs",
      transient: true,
      cause,
    });
  }
  if (code === "EACCES" || code === "EPERM") {
    return new Failure({
      code: "agent-forbidden",
      message: `${ask}${why}: this user may not use its socket (${code})`,
      hint: "Run the command as the user that the agent runs as, e.g. with sudo",
      cause,
    });
  }
  if (place.kind === "socket" && NOBODY_THERE.has(code)) {
    return new Failure({
      code: "agent-missing",
      message: `${ask}${why}: none is running there`,
      hint: "Start it with `systemctl start drayage` or `dray agent --site FILE`, or say where it is with --data-dir, --site or --agent",
      transient: true,
      cause,
    });
  }
  if (/CERT|SIGNED|VERIFY|ISSUER|ALTNAME|EPROTO/.test(code)) {
    return new Failure({
      code: "agent-untrusted",
      message: `${ask}: its certificate can't be trusted (${printable(code)})`,
      hint: "Name its authority with --ca-file, and the agent as its certificate does",
      cause,
    });
  }
  return new Failure({
    code: "agent-unreachable",
    message: `${ask}: ${printable(code)}`,
    hint: "Check the address, that the agent runs, and that `agent.listen` of its site file says so",
    transient: true,
    cause,
  });
}

const NOBODY_THERE: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED", "ENOTDIR"]);

/** What an answer that is no success says: `{error: {code, message, hint}}`, or that it is none of ours. */
export function answerFailure(place: AgentPlace, status: number, body: unknown): Failure {
  const error = isJsonObject(body) && isJsonObject(body["error"]) ? body["error"] : {};
  const { code, message, hint } = error;
  if (typeof code !== "string" || typeof message !== "string" || !/^[a-z][a-z0-9-]*$/.test(code)) {
    return notAnAgent(place, `status ${status} without a reason`);
  }
  return new Failure({
    code: printable(code, 64),
    message: printable(message, TEXT_MAX),
    hint: typeof hint === "string" && hint !== "" ? printable(hint, TEXT_MAX) : hintOf(status),
    transient: status === 429 || status >= 500,
  });
}

function hintOf(status: number): string {
  if (status === 401) return "Log in with --user and --password-file";
  if (status === 403) return "Ask an operator: this user may only read";
  return "Look into the journal with `dray journal`";
}

/** What answered is no agent of ours, or of another version. */
export function notAnAgent(place: AgentPlace, found: string): Failure {
  return new Failure({
    code: "agent-answer-invalid",
    message: `Cannot read the answer of the agent at ${placeName(place)}: ${printable(found)}, expected one of its API`,
    hint: "Check that `dray agent` serves there, and that `dray --version` is the same on both sides",
  });
}
