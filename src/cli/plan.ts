import { planDocument } from "#plan";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type Planned, type PlanOptions, planInputs } from "./plan-inputs.ts";
import { formatPlan } from "./plan-text.ts";
import { formatFindings } from "./report.ts";

/** Form of the answer: for eyes, or one JSON document for programs. */
export type OutputFormat = "text" | "json";

/** `dray plan`: decides, moves nothing, needs no network. */
export function runPlan(
  options: PlanOptions & { readonly output: OutputFormat },
  context: CliContext,
): ExitCode {
  const { plan } = planInputs(options, context);
  if (options.output === "json") context.out(`${JSON.stringify(planDocument(plan), null, 2)}\n`);
  else if (plan.stages.some(({ images }) => images.length > 0)) context.out(formatPlan(plan));
  context.err(formatFindings(plan.faults, options.output === "json" ? [] : plan.warnings));
  return plan.faults.length > 0 ? EXIT.refused : EXIT.done;
}

/** Plans for a command that needs a sound plan: tells the faults, and gives undefined when there are any. */
export function planOrRefuse(options: PlanOptions, context: CliContext): Planned | undefined {
  const planned = planInputs(options, context);
  context.err(formatFindings(planned.plan.faults, []));
  return planned.plan.faults.length > 0 ? undefined : planned;
}
