import { resolve } from "node:path";
import { formatBytes, printable } from "#base";
import type { Site } from "#profile";
import type { RemoteNotice } from "#remote";
import {
  clusterPlatform,
  createDeliveryJournal,
  deliverToSite,
  dialled,
  isThisMachine,
  openHandOver,
  openRuntime,
  openStoreToDeliver,
  type Planned,
  type SiteDelivered,
} from "#site";
import { openLayout } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type OutputFormat, planOrRefuse } from "./plan.ts";
import type { PlanOptions } from "./plan-options.ts";
import { createProgress, formatSummary, jsonEvents } from "./progress.ts";
import { formatFindings } from "./report.ts";

/** The words of `dray deliver` on the command line. */
export interface DeliverCommandOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly dataDir?: string;
  readonly until?: "provider" | "infrastructure";
  readonly platform?: string;
  readonly from?: readonly string[];
  /** Milliseconds. */
  readonly waitForLocal?: number;
  readonly attachments?: boolean;
  /** The command of the hand-over is run also for an image that it was run for. */
  readonly again?: boolean;
}

/** How often progress is drawn when nothing else draws it, in milliseconds. */
const TICK_MS = 500;

/** `dray deliver`: carries the plan out once. */
export async function runDeliver(
  options: DeliverCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const planned = await planOrRefuse(options, context);
  if (planned === undefined) return EXIT.refused;
  context.err(formatFindings([], planned.plan.warnings));
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
  planned: Planned,
  options: DeliverCommandOptions,
  context: CliContext,
): Promise<SiteDelivered> {
  const { clock, signal } = context;
  const { site } = planned.inputs;
  const dataDir = resolve(options.dataDir ?? site.dataDir);
  const folders = await Promise.all((options.from ?? []).map(openLayout));
  await using store = await openStoreToDeliver(dataDir, context);
  if (store.recoveryText !== undefined) context.err(`warning: ${store.recoveryText}\n`);
  const progress = openProgress(options.output, context);
  const journal = createDeliveryJournal(store.journal);
  const place = { store, dataDir, context, isAgain: options.again === true };
  const handOver = openHandOver(site.provider.handOver, {
    ...place,
    registry: dialled(site.listen),
  });
  try {
    await using opened = openRuntime({ site: runtimeFor(site, options, context), store, clock });
    const { runtime } = opened;
    return await deliverToSite(
      planned,
      {
        ...{ store, dataDir, folders, signal },
        generations: store.generations,
        platform: options.platform,
        // Who asks for it now wants it now, whatever the site file says of every day.
        ...(options.attachments === true ? { attachments: "always" } : {}),
        ...(options.until === undefined ? {} : { until: options.until }),
        ...(options.waitForLocal === undefined ? {} : { waitForLocalMs: options.waitForLocal }),
        ...(handOver === undefined ? {} : { handOver }),
        ...(runtime === undefined ? {} : { runtime }),
        onNotice: progress.notice,
        emit(event) {
          progress.onEvent(event);
          journal.hear(event);
        },
      },
      context,
    );
  } finally {
    const trouble = await journal.finish();
    if (trouble !== undefined) progress.note(`warning: ${trouble}`);
    progress.close();
  }
}

/** Images that are fetched for other machines are of no use to the runtime of this one. */
function runtimeFor(
  site: Site,
  options: DeliverCommandOptions,
  context: CliContext,
): Pick<Site, "runtime" | "runtimeSocket"> {
  const isOurs = isThisMachine(clusterPlatform(site, context, options.platform), context);
  return { runtime: isOurs ? site.runtime : "none", runtimeSocket: site.runtimeSocket };
}

interface Progress {
  readonly onEvent: (event: Parameters<ReturnType<typeof createProgress>["onEvent"]>[0]) => void;
  readonly notice: (notice: RemoteNotice) => void;
  /** Says a line without tearing what is drawn. */
  readonly note: (line: string) => void;
  readonly close: () => void;
}

function openProgress(output: OutputFormat, context: CliContext): Progress {
  const { err: write, isTerminal, columns, env, clock } = context;
  const warning = ({ registry, message }: RemoteNotice) =>
    `warning: ${printable(registry)}: ${message}`;
  if (output === "json") {
    const notice = (told: RemoteNotice) => write(`${warning(told)}\n`);
    const note = (line: string) => write(`${line}\n`);
    return { onEvent: jsonEvents(context.out), notice, note, close: () => undefined };
  }
  const color = isTerminal && (env["NO_COLOR"] ?? "") === "";
  const progress = createProgress({ write, isTerminal, columns, color, clock });
  const timer = setInterval(() => progress.tick(), TICK_MS);
  return {
    onEvent: (event) => progress.onEvent(event),
    notice: (told) => progress.note(warning(told)),
    note: (line) => progress.note(line),
    close() {
      clearInterval(timer);
      progress.close();
    },
  };
}
