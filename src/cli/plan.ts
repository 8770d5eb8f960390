import { type Plan, planDocument } from "#plan";
import type { Planned } from "#site";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { planFor } from "./plan-for.ts";
import type { PlanOptions } from "./plan-options.ts";
import { formatPlan } from "./plan-text.ts";
import { formatFindings } from "./report.ts";

/** Form of the answer: for eyes, or one JSON document for programs. */
export type OutputFormat = "text" | "json";

/** The words of `dray plan` on the command line. */
export interface PlanCommandOptions extends PlanOptions {
  readonly output: OutputFormat;
}

/** `dray plan`: decides, moves nothing, needs no network. */
export async function runPlan(options: PlanCommandOptions, context: CliContext): Promise<ExitCode> {
  return answerPlan(await planFor(options, context), options, context);
}

/** What an answer tells beside the plan: a field of the document, or lines under the text. */
export interface PlanAddition {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly text: string;
}

/** Prints a plan with its findings. */
export function answerPlan(
  { plan }: Planned,
  { output }: PlanCommandOptions,
  context: CliContext,
  addition: PlanAddition = { fields: {}, text: "" },
): ExitCode {
  if (output === "json") {
    context.out(planJson(plan, addition.fields));
  } else {
    if (plan.stages.some(({ images }) => images.length > 0)) context.out(formatPlan(plan));
    context.out(addition.text);
  }
  context.err(formatFindings(plan.faults, output === "json" ? [] : plan.warnings));
  return plan.faults.length > 0 ? EXIT.refused : EXIT.done;
}

/** The plan document as text: what every planning command answers a program that it refuses. */
export function planJson(plan: Plan, more: PlanAddition["fields"] = {}): string {
  return `${JSON.stringify({ ...planDocument(plan), ...more }, null, 2)}\n`;
}

/**
 * Plans for a command that needs a sound plan: tells the faults, and gives undefined when there are
 * any. A program that asked for JSON gets the refused plan, whose `faults` it can read.
 */
export async function planOrRefuse(
  options: PlanOptions & { readonly output: OutputFormat },
  context: CliContext,
): Promise<Planned | undefined> {
  const planned = await planFor(options, context);
  const { plan } = planned;
  context.err(formatFindings(plan.faults, []));
  if (plan.faults.length === 0) return planned;
  if (options.output === "json") context.out(planJson(plan));
  return undefined;
}
