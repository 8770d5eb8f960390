import { planDocument } from "#plan";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type Planned, type PlanOptions, planInputs } from "./plan-inputs.ts";
import { formatPlan } from "./plan-text.ts";
import { formatFindings } from "./report.ts";

/** Form of the answer: for eyes, or one JSON document for programs. */
export type OutputFormat = "text" | "json";

/** The words of `dray plan` on the command line. */
export interface PlanCommandOptions extends PlanOptions {
  readonly output: OutputFormat;
}

/** `dray plan`: decides, moves nothing, needs no network. */
export function runPlan(options: PlanCommandOptions, context: CliContext): ExitCode {
  return answerPlan(planInputs(options, context), options, context);
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
    const document = { ...planDocument(plan), ...addition.fields };
    context.out(`${JSON.stringify(document, null, 2)}\n`);
  } else {
    if (plan.stages.some(({ images }) => images.length > 0)) context.out(formatPlan(plan));
    context.out(addition.text);
  }
  context.err(formatFindings(plan.faults, output === "json" ? [] : plan.warnings));
  return plan.faults.length > 0 ? EXIT.refused : EXIT.done;
}

/** Plans for a command that needs a sound plan: tells the faults, and gives undefined when there are any. */
export function planOrRefuse(options: PlanOptions, context: CliContext): Planned | undefined {
  const planned = planInputs(options, context);
  context.err(formatFindings(planned.plan.faults, []));
  return planned.plan.faults.length > 0 ? undefined : planned;
}
