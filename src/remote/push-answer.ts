import { Failure, printable } from "#base";
import { isJsonObject, tryParseDigest } from "#oci";
import {
  type AnswerContext,
  credentialHint,
  isTransient,
  isWebPage,
  readText,
  speaker,
  wordsIn,
} from "./answer.ts";
import { cannot } from "./network-failure.ts";
import { retryAfterMs } from "./retry.ts";
import type { Answer } from "./transport.ts";

/** What an answer to a push comes down to. */
interface Verdict {
  readonly code: string;
  readonly hint: string;
  /** Said in place of the status alone. */
  readonly found?: string;
}

/** An answer and what its body says. */
interface Said {
  readonly answer: Answer;
  readonly context: AnswerContext;
  /** The codes of the errors that it lists, in upper case. */
  readonly codes: ReadonlySet<string>;
  /** Not shown: it may be a page of markup. */
  readonly text: string;
  /** The text without the names that were asked about. */
  readonly meaning: string;
}

/** Digests that a message names, at most. */
const MISSING_NAMED_MAX = 5;

/**
 * The failure for a push that was refused: what the registry means, by its status, the codes of the
 * distribution specification and the words of those that have codes of their own (Harbor, ECR).
 *
 * Codes: `registry-unauthorized`, `push-denied`, `project-missing`, `registry-full`, `registry-read-only`,
 * `tag-immutable`, `push-too-large`, `manifest-blob-unknown`, `push-digest-mismatch`, `upload-unknown`,
 * `upload-range`, `registry-rate-limited`, `registry-error`.
 */
export async function pushFailure(answer: Answer, context: AnswerContext): Promise<Failure> {
  const text = await readText(answer, context.stallMs);
  const meaning = withoutNames(text, answer.asked.subject);
  const said: Said = { answer, context, text, meaning, codes: codesIn(text) };
  const { code, hint, found } = verdictOf(said);
  const words = isWebPage(answer) ? " with a web page" : wordsIn(text, context.redact);
  const transient = code === "registry-error" || code === "registry-rate-limited";
  const isPassing = transient && isTransient(answer);
  const waitMs = isPassing
    ? retryAfterMs(answer.headers.get("retry-after"), context.nowMs)
    : undefined;
  return new Failure({
    code,
    message: `${cannot(answer.asked)}: ${speaker(answer, context)} answered ${answer.status}${words}${found ?? ""}, expected to be allowed to store it`,
    hint,
    transient: isPassing,
    ...(waitMs === undefined ? {} : { retryAfterMs: waitMs }),
  });
}

/** From what is surest to what is only likely; the words before the status, which many share. */
function verdictOf(said: Said): Verdict {
  return byWords(said) ?? byCode(said) ?? byStatus(said);
}

/** distribution shows an error of its disk by the number alone: ENOSPC and EDQUOT, or EROFS, of Linux. */
const FULL =
  /quota|exceed the configured upper limit|no space left|insufficient storage|not enough space|disk (?:is )?full|storage (?:is )?full|"Err":\s*(?:28|122)\b/i;
const READ_ONLY = /read[ -]?only|"Err":\s*30\b/i;
const IMMUTABLE = /immutable/i;
const NO_PROJECT =
  /project[^"<]{0,200}(?:not found|not exist|doesn't exist|unknown)|repository[^"<]{0,200}(?:does not exist|not found)/i;

function byWords({ answer: { status }, context, meaning }: Said): Verdict | undefined {
  const { registry } = context;
  if (status === 507 || (status !== 429 && FULL.test(meaning))) {
    return {
      code: "registry-full",
      found: ": it has no room",
      hint: `Free space on ${registry} or raise the quota of its project; the next run goes on from here`,
    };
  }
  if (READ_ONLY.test(meaning)) return readOnly(registry);
  if (IMMUTABLE.test(meaning)) {
    return {
      code: "tag-immutable",
      found: ": the tag is immutable and stands for other content",
      hint: `Change the rule for immutable tags of the project on ${registry}, or delete the tag there`,
    };
  }
  return NO_PROJECT.test(meaning) && status !== 401 ? projectMissing(context) : undefined;
}

/**
 * Takes out what was asked about: an image may be called `quota-operator`, or have the tag
 * `1.2-readonly`, and a refusal that repeats the name says nothing of why by it.
 *
 * @param subject of the request: `"host/path@digest"` or `"host/path:tag"`
 */
function withoutNames(text: string, subject: string): string {
  const [, path = "", reference = ""] = /^"?[^/"]*\/([^:@"]*)[:@]?([^"]*)"?$/.exec(subject) ?? [];
  const segments = path.split("/");
  // Also without the project, and in pieces; a piece that is one plain word may be one of the answer's.
  const tails = segments.map((_, i) => segments.slice(i).join("/"));
  const names = [`${path}:${reference}`, ...tails, ...segments, reference];
  return names
    .filter((name) => /[^A-Za-z0-9]/.test(name))
    .reduce((rest, name) => rest.replaceAll(name, "…"), text);
}

function byCode({ codes, text, context }: Said): Verdict | undefined {
  if (codes.has("MANIFEST_BLOB_UNKNOWN")) {
    return {
      code: "manifest-blob-unknown",
      found: missingIn(text),
      hint: `Run the command again: what is missing is sent anew. If it stays so, ${context.registry} takes no index without all of its platforms`,
    };
  }
  if (codes.has("BLOB_UPLOAD_UNKNOWN")) {
    return { code: "upload-unknown", hint: "Nothing to do: the upload begins anew" };
  }
  if (codes.has("DIGEST_INVALID")) {
    return {
      code: "push-digest-mismatch",
      found: ": it has other bytes than were to be sent",
      hint: `Run \`dray verify\`, which finds what is broken in the store; if it finds nothing, look for a proxy in front of ${context.registry}`,
    };
  }
  if (codes.has("NAME_UNKNOWN")) return projectMissing(context);
  return undefined;
}

function byStatus({ answer, context }: Said): Verdict {
  const { registry, access } = context;
  switch (answer.status) {
    case 401:
      return { code: "registry-unauthorized", hint: credentialHint(context) };
    case 403:
      return {
        code: "push-denied",
        hint:
          access.origin === null
            ? `No credential was given for ${registry}: add one that may push to \`credentials\` in the site file`
            : `Give the user of ${printable(access.origin)} the right to push to this repository of ${registry}`,
      };
    case 404:
      return projectMissing(context);
    case 405:
      return readOnly(registry);
    case 413:
      return {
        code: "push-too-large",
        hint: `Raise the largest request that ${registry}, or the proxy in front of it, takes (nginx: client_max_body_size)`,
      };
    case 416:
      return { code: "upload-range", hint: "Nothing to do: the upload goes on where it stands" };
    case 429:
      return {
        code: "registry-rate-limited",
        hint: `Wait, or raise the limit of requests on ${registry}`,
      };
    default:
      return {
        code: "registry-error",
        hint: `Look at the log of ${registry}: the trouble is there; the next run goes on from here`,
      };
  }
}

function readOnly(registry: string): Verdict {
  return {
    code: "registry-read-only",
    found: ": it takes no content now",
    hint: `End the read-only mode of ${registry} (its garbage collection may have set it), then run the command again`,
  };
}

function projectMissing({ registry, access }: AnswerContext): Verdict {
  const credential =
    access.origin === null ? "" : ` and that ${printable(access.origin)} may see it`;
  return {
    code: "project-missing",
    found: ": the project or repository is not there",
    hint: `Create the project on ${registry}${credential === "" ? "" : ","}${credential}`,
  };
}

function errorsIn(text: string): readonly unknown[] {
  try {
    const json: unknown = JSON.parse(text);
    const errors = isJsonObject(json) ? json["errors"] : undefined;
    return Array.isArray(errors) ? errors : [];
  } catch {
    return [];
  }
}

function codesIn(text: string): ReadonlySet<string> {
  const codes = errorsIn(text).map((error) => (isJsonObject(error) ? error["code"] : undefined));
  return new Set(
    codes.filter((code) => typeof code === "string").map((code) => code.toUpperCase()),
  );
}

/** What a registry misses, wherever in the details it has the digests. */
function missingIn(text: string): string {
  const digests = new Set<string>();
  for (const [word] of JSON.stringify(errorsIn(text)).matchAll(/sha(?:256|512):[0-9a-f]+/g)) {
    if (tryParseDigest(word) !== undefined) digests.add(word);
  }
  if (digests.size === 0) return "";
  const named = [...digests].slice(0, MISSING_NAMED_MAX).join(", ");
  const more = digests.size - MISSING_NAMED_MAX;
  return `: it misses ${named}${more > 0 ? ` and ${more} more` : ""}`;
}
