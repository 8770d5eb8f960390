import { resolve } from "node:path";
import { printable } from "#base";
import { type DeliverySummary, deliver } from "#deliver";
import { createCredentialHelpers } from "#keychain";
import { parsePlatform } from "#oci";
import type { Plan } from "#plan";
import type { ProxyAddresses, Site } from "#profile";
import { dnsAddresses, type ProxySettings, Remote, type RemoteNotice } from "#remote";
import { openStore } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { type OutputFormat, planOrRefuse } from "./plan.ts";
import type { Planned, PlanOptions } from "./plan-inputs.ts";
import { createProgress, formatSummary, jsonEvents } from "./progress.ts";
import { formatFindings } from "./report.ts";

/** The words of `dray deliver` on the command line. */
export interface DeliverCommandOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly dataDir?: string;
  readonly until?: "provider" | "infrastructure";
  readonly platform?: string;
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
  const summary = await carryOut(planned, options, context);
  if (options.output === "text") context.out(formatSummary(summary));
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
): Promise<DeliverySummary> {
  const { clock, random, signal } = context;
  const platform =
    options.platform === undefined ? inputs.site.platform : parsePlatform(options.platform);
  const dataDir = resolve(options.dataDir ?? inputs.site.dataDir);
  await using store = await openStore(dataDir, { clock });
  const progress = openProgress(options.output, context);
  const remote = createRemote(inputs.userData.proxy, inputs.site, context, progress.notice);
  try {
    return await deliver(plan, {
      store,
      platform: platform ?? parsePlatform(context.platform),
      clock,
      random,
      signal,
      openSource: ({ source, access }) => remote.repository(source, access),
      emit: progress.onEvent,
      ...(options.until === undefined ? {} : { until: options.until }),
    });
  } finally {
    remote.close();
    progress.close();
  }
}

function createRemote(
  userDataProxy: ProxyAddresses,
  site: Site,
  context: CliContext,
  onNotice: (notice: RemoteNotice) => void,
): Remote {
  return new Remote({
    clock: context.clock,
    random: context.random,
    userAgent: `dray/${context.version}`,
    proxy: chooseProxy(userDataProxy, context.env),
    trustedTokenHosts: site.trustedTokenHosts,
    helpers: createCredentialHelpers({ env: context.env }),
    lookupAddresses: dnsAddresses,
    onNotice,
  });
}

/** The user data describes this very host, so its proxies win over those of the environment. */
export function chooseProxy(userData: ProxyAddresses, env: CliContext["env"]): ProxySettings {
  if (userData.httpProxy !== undefined || userData.httpsProxy !== undefined) return userData;
  const variable = (name: string) => env[name] || env[name.toUpperCase()] || undefined;
  // A CGI server puts the request's Proxy header into HTTP_PROXY (CVE-2016-5385).
  const httpProxy =
    env["REQUEST_METHOD"] === undefined ? variable("http_proxy") : env["http_proxy"];
  const httpsProxy = variable("https_proxy");
  const noProxy = userData.noProxy ?? variable("no_proxy");
  return {
    ...(httpProxy === undefined ? {} : { httpProxy }),
    ...(httpsProxy === undefined ? {} : { httpsProxy }),
    ...(noProxy === undefined ? {} : { noProxy }),
  };
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
