import { hostname } from "node:os";
import { resolve } from "node:path";
import { Findings, isFailure } from "#base";
import {
  type Agent,
  addressDoor,
  compileSeldom,
  createAgent,
  type Part,
  refuseApiExposure,
  socketDoor,
} from "#daemon";
import { readSiteFile, type Site } from "#profile";
import { agentSocket, createSiteOperations, machineTimeZone, reserveSite } from "#site";
import { type DiskStore, openStore } from "#store";
import { type AgentLog, createAgentLog } from "./agent-log.ts";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { parseListen } from "./listen.ts";
import type { OutputFormat } from "./plan.ts";
import type { PlanOptions } from "./plan-options.ts";
import { formatFindings } from "./report.ts";
import { usage } from "./usage.ts";

/** The words of `dray agent` on the command line. */
export interface AgentOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly dataDir?: string;
  /** `host:port` of the page and the API. */
  readonly listen?: string;
}

/** An address that the page may have. */
const EXAMPLE = "127.0.0.1:5056";

/** `dray agent`: keeps the site as its inputs want it, until it is told to stop. */
export async function runAgent(options: AgentOptions, context: CliContext): Promise<ExitCode> {
  compileSeldom();
  refuseStdin(options);
  const site = readSoundSite(options, context);
  if (site === undefined) return EXIT.refused;
  const listen = options.listen ?? site.agent.listen;
  if (isExposed(listen, site, options, context)) return EXIT.refused;
  const { clock, random, signal, version } = context;
  const log = createAgentLog(options.output, context);
  const dataDir = resolve(options.dataDir ?? site.dataDir);
  using _ = await reserveSite(dataDir, context);
  await using store = await openStore(dataDir, { clock, role: "registry" });
  if (store.recoveryText !== undefined) log.news(store.recoveryText);
  const operations = createSiteOperations({
    ...{ sources: options, dataDir, store, context, started: site },
    startWorker: context.startWorker,
    overruled: namedIn(options),
    onNews: log.news,
    onTrouble: log.trouble,
  });
  const agent = createAgent({
    ...{ operations, records: store, clock, random, version, host: hostname() },
    timeZone: machineTimeZone(context.env),
  });
  agent.subscribe((news) => {
    if (news.type === "journal") log.entry(news.entry);
  });
  const doors = doorsOf(agent, listen, {
    ...{ site, dataDir, store, log, context },
  });
  await agent.run(signal, doors);
  return EXIT.done;
}

function refuseStdin({ profile = [], userData, site, images = [], vars = [] }: AgentOptions): void {
  if (![...profile, userData, site, ...images, ...vars].includes("-")) return;
  throw usage(
    "Cannot follow standard input: - is given, and it can be read only once",
    "Give all files by name",
  );
}

/**
 * The site file, when all is well with it: with half of it the agent would keep another site. Its
 * profiles may be wrong; they are watched.
 */
function readSoundSite({ site: file }: AgentOptions, context: CliContext): Site | undefined {
  const findings = new Findings();
  const site = readSiteFile(file, context.files, findings);
  context.err(formatFindings(findings.faults, []));
  return findings.faults.length === 0 ? site : undefined;
}

/** Others could reach it unguarded: no restart would change that, so nothing begins. */
function isExposed(
  listen: string,
  { agent }: Site,
  options: AgentOptions,
  { err }: CliContext,
): boolean {
  const guards = { hasTls: agent.tls !== undefined, hasUsers: agent.htpasswd !== undefined };
  try {
    refuseApiExposure(parseListen(listen, EXAMPLE).hostname, guards);
    return false;
  } catch (error) {
    if (!isFailure(error, "api-exposed")) throw error;
    const { code, message, hint: remedy } = error;
    const at = options.listen === undefined ? agent.listenAt : undefined;
    const place = at ?? { file: "", line: 1, column: 1, path: "" };
    err(formatFindings([{ code, message, remedy, ...place }], []));
    return true;
  }
}

/** What of the site file the command line overrules. */
function namedIn({ dataDir, listen }: AgentOptions): ReadonlySet<string> {
  return new Set([
    ...(dataDir === undefined ? [] : ["dataDir"]),
    ...(listen === undefined ? [] : ["agent.listen"]),
  ]);
}

interface Doorway {
  readonly site: Site;
  readonly dataDir: string;
  readonly store: DiskStore;
  readonly log: AgentLog;
  readonly context: CliContext;
}

/** What lets people and programs in. */
function doorsOf(
  control: Agent,
  listen: string,
  { site: { agent }, dataDir, store, log, context: { clock } }: Doorway,
): readonly Part[] {
  const { tls, htpasswd, operators, metricsTokenFile } = agent;
  const shared = { control, clock, onError: log.trouble };
  return [
    socketDoor(agentSocket(dataDir), shared),
    addressDoor({
      ...{ ...shared, ...parseListen(listen, EXAMPLE), journal: store.journal },
      ...(tls === undefined ? {} : { tls }),
      ...(htpasswd === undefined ? {} : { usersFile: htpasswd }),
      ...(operators === undefined ? {} : { operators }),
      ...(metricsTokenFile === undefined ? {} : { metricsTokenFile }),
    }),
  ];
}
