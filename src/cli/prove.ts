import { formatPlatform } from "#oci";
import { type ProofDepth, type ProveOptions, prove } from "#prove";
import { clusterPlatform, openProvenSite, type ProvenSiteOptions } from "#site";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type OutputFormat, planOrRefuse } from "./plan.ts";
import type { PlanOptions } from "./plan-options.ts";
import { formatProof } from "./proof-text.ts";
import { formatFindings } from "./report.ts";

/** The words of `dray prove` on the command line. */
export interface ProveCommandOptions extends PlanOptions, ProvenSiteOptions {
  readonly output: OutputFormat;
  readonly platform?: string;
  readonly full?: boolean;
  /** Blobs of a hundred. */
  readonly sample?: number;
}

/** `dray prove`: whether the site stands on its own, reference by reference. */
export async function runProve(
  options: ProveCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const planned = await planOrRefuse(options, context);
  if (planned === undefined) return EXIT.refused;
  context.err(formatFindings([], planned.plan.warnings));
  await using site = await openProvenSite(planned, options, context, context.signal);
  using progress = createProofProgress(context);
  const platform = clusterPlatform(planned.inputs.site, context, options.platform);
  const proof = await prove(planned.plan, {
    ...site.ports,
    site: { ...site.state, platform: formatPlatform(platform), depth: depthOf(options) },
    platform,
    clock: context.clock,
    signal: context.signal,
    onProgress: progress.tell,
  });
  progress[Symbol.dispose]();
  const isJson = options.output === "json";
  context.out(isJson ? `${JSON.stringify(proof, null, 2)}\n` : formatProof(proof));
  return proof.ok ? EXIT.done : EXIT.wanting;
}

function depthOf({ full, sample }: ProveCommandOptions): ProofDepth {
  if (full === true) return { kind: "full" };
  return sample === undefined ? { kind: "ends" } : { kind: "sample", percent: sample };
}

interface ProofProgress extends Disposable {
  readonly tell: NonNullable<ProveOptions["onProgress"]>;
}

/** One line that is written over, for people only. */
function createProofProgress({ isTerminal, err }: CliContext): ProofProgress {
  let isDrawn = false;
  return {
    tell(done, total) {
      if (!isTerminal) return;
      isDrawn = true;
      err(`\r\x1b[KProving: ${done} of ${total}`);
    },
    [Symbol.dispose]() {
      if (isDrawn) err("\r\x1b[K");
      isDrawn = false;
    },
  };
}
