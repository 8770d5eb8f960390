import { isFailure, printable } from "#base";
import type { JournalEntry } from "#daemon";
import type { CliContext } from "./context.ts";
import type { OutputFormat } from "./plan.ts";
import { formatError } from "./report.ts";

/** Tells on stderr what an agent does, a line at a time. */
export interface AgentLog {
  entry(entry: Pick<JournalEntry, "at" | "kind" | "text" | "level" | "by">): void;
  /** Something worth a line that is in no journal. */
  news(text: string): void;
  trouble(error: unknown): void;
}

/** As lines for people, or as one JSON object a line, with the time of each. */
export function createAgentLog(
  output: OutputFormat,
  { clock, err }: Pick<CliContext, "clock" | "err">,
): AgentLog {
  const tell = (line: LogLine) => err(output === "json" ? formatJson(line) : formatText(line));
  return {
    entry: ({ at, level, kind, text, by }) => tell({ at, level, kind, text, by }),
    news: (text) => tell({ at: clock.now(), level: "info", kind: "notice", text }),
    trouble(error) {
      const at = clock.now();
      if (isFailure(error)) {
        const { code: kind, message: text, hint } = error;
        tell({ at, level: "warning", kind, text, hint });
      } else
        tell({ at, level: "error", kind: "internal-error", text: formatError(error).trimEnd() });
    },
  };
}

interface LogLine {
  readonly at: number;
  readonly level: JournalEntry["level"];
  readonly kind: string;
  readonly text: string;
  readonly hint?: string;
  readonly by?: string | null;
}

function formatJson({ at, ...line }: LogLine): string {
  return `${JSON.stringify({ time: new Date(at).toISOString(), ...line })}\n`;
}

/** A sentence may hold whole references. */
const TEXT_MAX = 2_000;

function formatText({ at, level, kind, text, hint }: LogLine): string {
  const time = new Date(at).toISOString();
  const next = hint === undefined ? "" : `  hint: ${printable(hint, TEXT_MAX)}\n`;
  return `${time} ${level} ${kind}: ${printable(text, TEXT_MAX)}\n${next}`;
}
