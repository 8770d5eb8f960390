import { resolve } from "node:path";
import { printable } from "#base";
import type { RuntimeKind } from "#redirect";
import { type Patience, Remote } from "#remote";
import { chooseProxy, type Planned, remoteOptions } from "#site";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { diskCheck, limitsCheck, portCheck } from "./doctor-machine.ts";
import {
  certificatesCheck,
  clockCheck,
  credentialsCheck,
  dnsCheck,
  harborCheck,
  type NetworkLooks,
  proxyCheck,
  registriesCheck,
  registriesOf,
  roomCheck,
} from "./doctor-network.ts";
import { runtimeCheck } from "./doctor-runtime.ts";
import { type OutputFormat, planJson } from "./plan.ts";
import { planFor } from "./plan-for.ts";
import type { PlanOptions } from "./plan-options.ts";
import { formatFindings } from "./report.ts";
import { type Check, examine, type Sign } from "./sign.ts";

/** The words of `dray doctor` on the command line. */
export interface DoctorOptions extends PlanOptions {
  readonly output: OutputFormat;
  readonly dataDir?: string;
  readonly containerdConfig: string;
}

/** Every look has a few seconds in all, so nobody is asked for long. */
const PATIENCE: Patience = {
  ...{ attempts: 1, firstMs: 200, maxMs: 1_000 },
  ...{ headerTimeoutMs: 5_000, stallMs: 5_000 },
};

/** What a plan cannot do without, and surroundings can. */
const NO_PROFILE: ReadonlySet<string> = new Set(["profile-missing", "provider-location-missing"]);

/** `dray doctor`: examines the surroundings, with or without inputs. */
export async function runDoctor(options: DoctorOptions, context: CliContext): Promise<ExitCode> {
  const planned = await planFor(options, context);
  const hasProfile = !planned.plan.faults.some(({ code }) => code === "profile-missing");
  const faults = planned.plan.faults.filter(({ code }) => hasProfile || !NO_PROFILE.has(code));
  if (faults.length > 0) {
    context.err(formatFindings(faults, []));
    if (options.output === "json") context.out(planJson(planned.plan));
    return EXIT.refused;
  }
  const remote = new Remote({
    ...remoteOptions({
      ...{ inputs: planned.inputs, context },
      onNotice: () => undefined,
      onPause: () => undefined,
    }),
    patience: PATIENCE,
  });
  try {
    const signs = await examine(checksOf(planned, hasProfile, remote, options, context), context);
    context.out(options.output === "json" ? formatJson(signs) : formatText(signs));
    return signs.some(({ verdict }) => verdict === "wrong") ? EXIT.wanting : EXIT.done;
  } finally {
    remote.close();
  }
}

function checksOf(
  planned: Planned,
  hasProfile: boolean,
  remote: Remote,
  options: DoctorOptions,
  context: CliContext,
): readonly Check[] {
  const { site, userData } = planned.inputs;
  const dataDir = resolve(options.dataDir ?? site.dataDir);
  const registries = hasProfile ? registriesOf(planned) : [];
  const proxy = chooseProxy(userData.proxy, context.env);
  const looks: NetworkLooks = { context, remote, proxy, registries };
  const harbor = hasProfile ? harborCheck(planned, looks) : undefined;
  return [
    clockCheck(looks),
    diskCheck(dataDir),
    ...(hasProfile ? [roomCheck(planned, dataDir, context)] : []),
    limitsCheck,
    portCheck(site.listen, remote),
    proxyCheck(hasProfile ? planned : undefined, context),
    ...(hasProfile
      ? [
          dnsCheck(looks),
          certificatesCheck(looks),
          registriesCheck(planned, looks),
          credentialsCheck(planned, dataDir, context),
        ]
      : []),
    ...(harbor === undefined ? [] : [harbor]),
    runtimeCheck(
      {
        kind: runtimeKind(site.runtime),
        socket: site.runtimeSocket,
        configDir: site.runtimeConfigDir,
        containerdConfig: options.containerdConfig,
      },
      context,
    ),
  ];
}

function runtimeKind(kind: RuntimeKind | "none" | undefined): RuntimeKind | undefined {
  return kind === "none" ? undefined : kind;
}

function formatJson(signs: readonly Sign[]): string {
  const ok = signs.every(({ verdict }) => verdict !== "wrong");
  const document = { apiVersion: "drayage/v1", kind: "Examination", ok, signs };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** A sentence may hold two whole references, each as long as a name may be. */
const TEXT_LENGTH_MAX = 1000;

function formatText(signs: readonly Sign[]): string {
  const lines = signs.map(({ check, verdict, text, remedy }) => {
    const told = printable(text, TEXT_LENGTH_MAX);
    const todo = remedy === null ? "" : `. Do: ${printable(remedy, TEXT_LENGTH_MAX)}`;
    return `${verdict.padEnd(7)}  ${check.padEnd(12)}  ${told}${todo}\n`;
  });
  return lines.join("");
}
