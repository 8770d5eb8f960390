import { resolve } from "node:path";
import { formatBytes, printable } from "#base";
import { type DeliverySummary, deliver } from "#deliver";
import { parsePlatform } from "#oci";
import type { Plan } from "#plan";
import type { RemoteNotice } from "#remote";
import { createDiskLedger, openLayout, openStore } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { keepLastSpeed } from "./last-speed.ts";
import { type OutputFormat, planOrRefuse } from "./plan.ts";
import type { Planned, PlanOptions } from "./plan-inputs.ts";
import { createProgress, formatSummary, jsonEvents } from "./progress.ts";
import { formatFindings } from "./report.ts";
import { createSpeedGauge, openUplink } from "./uplink.ts";

/** The words of `dray deliver` on the command line. */
export interface DeliverCommandOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly dataDir?: string;
  readonly until?: "provider" | "infrastructure";
  readonly platform?: string;
  readonly from?: readonly string[];
}

/** How often progress is drawn when nothing else draws it, in milliseconds. */
const TICK_MS = 500;

/** `dray deliver`: carries the plan out once. */
export async function runDeliver(
  options: DeliverCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const planned = planOrRefuse(options, context);
  if (planned === undefined) return EXIT.refused;
  context.err(formatFindings([], planned.plan.warnings));
  tellOfUploads(planned.plan, context);
  const { summary, bytesCrossed } = await carryOut(planned, options, context);
  if (options.output === "text") {
    context.out(formatSummary(summary));
    context.out(`${formatBytes(bytesCrossed)} over the uplink\n`);
  }
  switch (summary.outcome) {
    case "done":
      return EXIT.done;
    case "failed":
      return EXIT.failed;
    case "interrupted":
      return EXIT.interrupted;
  }
}

async function carryOut(
  { plan, inputs }: Planned,
  options: DeliverCommandOptions,
  context: CliContext,
): Promise<{ readonly summary: DeliverySummary; readonly bytesCrossed: number }> {
  const { clock, random, signal } = context;
  const platform =
    options.platform === undefined ? inputs.site.platform : parsePlatform(options.platform);
  const dataDir = resolve(options.dataDir ?? inputs.site.dataDir);
  const folders = await Promise.all((options.from ?? []).map(openLayout));
  await using store = await openStore(dataDir, { clock });
  const progress = openProgress(options.output, context);
  const gauge = createSpeedGauge(clock);
  try {
    await using uplink = await openUplink({
      inputs,
      ledger: createDiskLedger(dataDir),
      context,
      onNotice: progress.notice,
      onPause: (pause) => progress.onEvent({ at: clock.now(), type: "waiting", ...pause }),
      isMetered: true,
    });
    const summary = await deliver(plan, {
      store,
      generations: store.generations,
      folders,
      bytesFree: () => store.freeBytes(),
      platform: platform ?? parsePlatform(context.platform),
      clock,
      random,
      signal,
      openSource: ({ source, access }) => uplink.remote.repository(source, access),
      emit(event) {
        if (event.type === "bytes") gauge.arrived(event.bytes);
        progress.onEvent(event);
      },
      ...(options.until === undefined ? {} : { until: options.until }),
    });
    return { summary, bytesCrossed: uplink.bytesCrossed };
  } finally {
    const bytesPerSecond = gauge.speed();
    if (bytesPerSecond !== undefined) await keepLastSpeed(dataDir, bytesPerSecond, clock.now());
    progress.close();
  }
}

interface Progress {
  readonly onEvent: (event: Parameters<ReturnType<typeof createProgress>["onEvent"]>[0]) => void;
  readonly notice: (notice: RemoteNotice) => void;
  readonly close: () => void;
}

function openProgress(output: OutputFormat, context: CliContext): Progress {
  const { err: write, isTerminal, columns, env, clock } = context;
  const warning = ({ registry, message }: RemoteNotice) =>
    `warning: ${printable(registry)}: ${message}`;
  if (output === "json") {
    const notice = (told: RemoteNotice) => write(`${warning(told)}\n`);
    return { onEvent: jsonEvents(context.out), notice, close: () => undefined };
  }
  const color = isTerminal && (env["NO_COLOR"] ?? "") === "";
  const progress = createProgress({ write, isTerminal, columns, color, clock });
  const timer = setInterval(() => progress.tick(), TICK_MS);
  return {
    onEvent: (event) => progress.onEvent(event),
    notice: (told) => progress.note(warning(told)),
    close() {
      clearInterval(timer);
      progress.close();
    },
  };
}

/** A plan may want more than this version does: better said at once than found out. */
function tellOfUploads(plan: Plan, context: CliContext): void {
  const uploads = plan.stages
    .flatMap(({ images }) => images)
    .filter(({ local }) => local !== null).length;
  const { local } = plan.registries;
  if (uploads === 0 || local === null || local.kind === "embedded") return;
  const images = uploads === 1 ? "1 image is" : `${uploads} images are`;
  context.err(
    `warning: ${images} planned for the local registry ${local.address ?? ""}, and this version does not upload yet\n` +
      "  hint: They are delivered to the store; push them from there, e.g. with skopeo copy oci:DIR:NAME docker://…\n",
  );
}
