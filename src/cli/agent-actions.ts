import type { ActionName } from "#daemon";
import { AgentClient } from "./agent-client.ts";
import type { AgentPlaceOptions } from "./agent-options.ts";
import { agentPlace } from "./agent-place.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import type { OutputFormat } from "./plan.ts";

/** What an operator tells an agent by a command of its own; `dray prove` and its like need no agent. */
export type ToldAction = Extract<
  ActionName,
  "stage" | "activate" | "rollback" | "pause" | "resume"
>;

/** What the agent does from now on. */
const DOES: Readonly<Record<ToldAction, string>> = {
  stage: "looks at its inputs and brings what is missing",
  activate: "activates what is staged, or the active revision again where nothing is",
  rollback: "goes back to the revision before",
  pause: "moves nothing until `dray resume`",
  resume: "goes on",
};

/** `dray stage` and its like: tells the agent, and doesn't wait for the end. */
export async function runAgentAction(
  action: ToldAction,
  options: AgentPlaceOptions & { readonly output: OutputFormat },
  context: CliContext,
): Promise<ExitCode> {
  const client = new AgentClient(agentPlace(options, context), context);
  await client.act(action);
  if (options.output === "json") {
    const answer = { apiVersion: "drayage/v1", kind: "Action", action, accepted: true };
    context.out(`${JSON.stringify(answer, null, 2)}\n`);
  } else {
    context.out(`The agent ${DOES[action]}; \`dray status --watch\` shows it\n`);
  }
  return EXIT.done;
}
