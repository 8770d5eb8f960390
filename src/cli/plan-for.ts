import { type Failure, printable } from "#base";
import { type Planned, planSite } from "#site";
import type { CliContext } from "./context.ts";
import type { PlanOptions } from "./plan-options.ts";

/** Plans for a command: from files, and from the artifacts of registries where addresses are given. */
export function planFor(
  options: PlanOptions & { readonly dataDir?: string },
  context: CliContext,
): Promise<Planned> {
  return planSite(options, context, {
    signal: context.signal,
    onNotice: ({ registry, message }) =>
      context.err(`warning: ${printable(registry)}: ${message}\n`),
    onStale: (because) => context.err(formatStale(because)),
  });
}

function formatStale({ message, hint }: Failure): string {
  return `warning: What came last stands. ${message} [artifact-stale]\n  hint: ${hint}\n`;
}
