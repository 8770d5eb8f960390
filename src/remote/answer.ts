import { Failure, formatDuration, printable, quoted } from "#base";
import type { Access } from "#credential";
import { isJsonObject } from "#oci";
import { readBounded } from "./body.ts";
import { cannot } from "./network-failure.ts";
import { retryAfterMs } from "./retry.ts";
import { type Answer, discard } from "./transport.ts";

/** What is known beside an answer when it must be explained. */
export interface AnswerContext {
  /** The registry that was asked; the answer may come from where it redirected to. */
  readonly registry: string;
  readonly access: Access;
  readonly nowMs: number;
  readonly stallMs: number;
  /** Takes out what must never be shown: a server may repeat the credential that it was sent. */
  readonly redact: (text: string) => string;
}

/** An error's body is read so far and no further (SEC-8). */
const ERROR_BYTES_MAX = 64 * 1024;

/** Statuses after which the same request may succeed (C-50). */
const TRANSIENT_STATUSES: ReadonlySet<number> = new Set([408, 429, 499, 500, 502, 503, 504, 522]);

/** Whether an answer means "not now" rather than "no". */
export function isTransient({ status }: Answer): boolean {
  return TRANSIENT_STATUSES.has(status);
}

/** Whether what came is a page for people: a login portal, a proxy's block page, an error page. */
export function isWebPage({ headers }: Answer): boolean {
  return /^\s*text\/html\b/i.test(headers.get("content-type") ?? "");
}

/**
 * The failure for an answer that is not what was asked for. It reads (a bounded part of) the body for
 * the registry's own words.
 */
export async function answerFailure(answer: Answer, context: AnswerContext): Promise<Failure> {
  const { status } = answer;
  const words = await wordsOf(answer, context);
  const waitMs = retryAfterMs(answer.headers.get("retry-after"), context.nowMs);
  const kind = kindOf(answer, context);
  return new Failure({
    code: kind.code,
    message: `${cannot(answer.asked)}: ${speaker(answer, context)} answered ${status}${words}, expected 200`,
    hint: kind.hint,
    transient: isTransient(answer),
    ...(waitMs === undefined || !isTransient(answer) ? {} : { retryAfterMs: waitMs }),
  });
}

/** Who answered, for messages: the registry, or another host in its place. */
export function speaker({ asked }: Answer, { registry }: AnswerContext): string {
  return asked.host === registry ? registry : `${asked.host}, for ${registry},`;
}

function kindOf(answer: Answer, context: AnswerContext): { code: string; hint: string } {
  const { status } = answer;
  if (status === 401) return { code: "registry-unauthorized", hint: credentialHint(context) };
  if (status === 403) return { code: "registry-denied", hint: deniedHint(context) };
  if (status === 404) return { code: "content-missing", hint: missingHint(context) };
  if (status === 429) {
    const waitMs = retryAfterMs(answer.headers.get("retry-after"), context.nowMs);
    const wait = waitMs === undefined ? "Wait" : `Come back in ${formatDuration(waitMs)}`;
    return {
      code: "registry-rate-limited",
      hint: `${wait}, or give a credential with a higher limit; anonymous pulls have the lowest`,
    };
  }
  if (isWebPage(answer) && !isTransient(answer)) {
    return { code: "registry-protocol", hint: WEB_PAGE_HINT };
  }
  if (isTransient(answer)) {
    return {
      code: "registry-error",
      hint: `The trouble is at ${context.registry}: run the command again later, or look at its log`,
    };
  }
  return {
    code: "registry-error",
    hint: `Check that ${context.registry} is the address of an OCI registry, and look at its log`,
  };
}

/** For an answer that is a web page where a registry's was expected. */
export const WEB_PAGE_HINT =
  "A login portal, a proxy or a firewall may answer in place of the registry: open its address by hand from this network";

/** What to do about a credential that is missing or was refused: where it stands, if it stands anywhere. */
export function credentialHint({
  registry,
  access,
}: Pick<AnswerContext, "registry" | "access">): string {
  return access.origin === null
    ? `No credential was given for ${registry}: add user and password where it is declared, or to \`credentials\` in the site file`
    : `Check user and password in ${printable(access.origin)}, and that they are meant for ${registry}`;
}

function deniedHint({ registry, access }: AnswerContext): string {
  return access.origin === null
    ? `Add a credential for ${registry} to \`credentials\` in the site file, or make the repository public`
    : `Give the user of ${printable(access.origin)} the right to pull from this repository of ${registry}`;
}

function missingHint({ access }: AnswerContext): string {
  const hidden =
    "Check name, tag and path; some registries also answer so for what one may not see";
  return access.origin === null
    ? `${hidden}, and no credential was given`
    : `${hidden} with the credential of ${printable(access.origin)}`;
}

/** The registry's own words; see {@link wordsIn}. */
async function wordsOf(answer: Answer, { stallMs, redact }: AnswerContext): Promise<string> {
  if (isWebPage(answer)) {
    await discard(answer);
    return " with a web page";
  }
  return wordsIn(await readText(answer, stallMs), redact);
}

/**
 * The first error that a text tells, in parentheses, made safe; nothing when it tells none.
 *
 * @param redact is given what is shown and not the text, in which JSON may have escaped a secret
 */
export function wordsIn(text: string, redact: AnswerContext["redact"]): string {
  const words = readJsonErrors(text, redact) ?? readXmlCode(text);
  return words === undefined ? "" : ` (${words})`;
}

/** The body of an error, as far as errors go. */
export async function readText(answer: Answer, stallMs: number): Promise<string> {
  try {
    const bytes = await readBounded(answer, ERROR_BYTES_MAX, { stallMs });
    return bytes === undefined ? "" : new TextDecoder().decode(bytes);
  } catch {
    // The status is the news; a body that breaks only takes the words away.
    answer.signal.throwIfAborted();
    return "";
  }
}

/** The first error of the distribution specification's form, or a token service's. */
function readJsonErrors(text: string, redact: AnswerContext["redact"]): string | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(json)) return undefined;
  const first = Array.isArray(json["errors"]) ? json["errors"][0] : undefined;
  const code = isJsonObject(first) ? first["code"] : json["error"];
  const detail = isJsonObject(first)
    ? first["message"]
    : (json["error_description"] ?? json["details"] ?? json["message"]);
  const parts = [
    ...(typeof code === "string" ? [printable(redact(code), 60)] : []),
    ...(typeof detail === "string" ? [quoted(withoutQueries(redact(detail)))] : []),
  ];
  return parts.length === 0 ? undefined : parts.join(": ");
}

/** Of an object store's error only the code: the rest of it shows the signed request (C-45). */
function readXmlCode(text: string): string | undefined {
  return /<Code>([A-Za-z0-9]{1,60})<\/Code>/.exec(text)?.[1];
}

/** A registry may repeat the URL that failed at its storage, signature included. */
function withoutQueries(text: string): string {
  return text.replace(/\?[^\s"']*/g, (query) => (query.length > 1 ? "?…" : query));
}
