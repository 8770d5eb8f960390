import { AgentClient } from "./agent-client.ts";
import type { AgentPlaceOptions } from "./agent-options.ts";
import { agentPlace } from "./agent-place.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import type { OutputFormat } from "./plan.ts";
import { statusLines, viewOf } from "./status-text.ts";
import { watchStatus } from "./status-watch.ts";

/** The words of `dray status` on the command line. */
export interface StatusCommandOptions extends AgentPlaceOptions {
  readonly output: OutputFormat;
  readonly watch?: boolean;
}

/** `dray status`: how the site is, as its agent tells it. */
export async function runStatus(
  options: StatusCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const client = new AgentClient(agentPlace(options, context), context);
  if (options.watch === true) return await watchStatus(client, options.output, context);
  const state = await client.site();
  const text =
    options.output === "json"
      ? JSON.stringify(state, null, 2)
      : statusLines(state, viewOf(state.at, context)).join("\n");
  context.out(`${text}\n`);
  const { level } = state.verdict;
  return level === "wanting" || level === "failed" ? EXIT.wanting : EXIT.done;
}
