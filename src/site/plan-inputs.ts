import { Failure, Findings, isFailure, type Place } from "#base";
import {
  type DockerConfig,
  dockerConfigFiles,
  lookupDockerConfig,
  parseDockerConfig,
} from "#credential";
import { type DockerCredentials, makePlan, type Plan } from "#plan";
import { type ClusterInputs, isProblem, readClusterInputs, type Site } from "#profile";
import { artifactFiles, type SiteArtifact } from "#steering";
import type { SiteContext } from "./context.ts";

/** What is read to plan from, by the names that a person gives. */
export interface PlanSources {
  readonly profile?: readonly string[];
  readonly userData?: string;
  readonly site?: string;
  readonly images?: readonly string[];
  readonly vars?: readonly string[];
  readonly var?: readonly (readonly [string, string])[];
  readonly dockerConfig?: boolean | string;
}

/** A plan with what it was made from. */
export interface Planned {
  readonly plan: Plan;
  readonly inputs: ClusterInputs;
  /** What Docker's configuration gives, where it may be asked. */
  readonly docker: DockerCredentials;
  /** Those that profiles came from. */
  readonly artifacts: readonly SiteArtifact[];
}

/**
 * Reads all inputs and plans. What is wrong with the inputs stands in the plan's faults.
 *
 * @param artifacts what addresses among the profiles stand for; one that is not here is a fault
 * @param inForce what holds of the site file; all of it, without it
 */
export function planInputs(
  sources: PlanSources,
  context: Pick<SiteContext, "files" | "env" | "home">,
  artifacts: readonly SiteArtifact[] = [],
  inForce: (site: Site) => Site = (site) => site,
): Planned {
  refuseTwoStdins(sources);
  const findings = new Findings();
  const files = artifactFiles(context.files, artifacts);
  const names = {
    profiles: sources.profile ?? [],
    ...(sources.userData === undefined ? {} : { userData: sources.userData }),
    ...(sources.site === undefined ? {} : { site: sources.site }),
    images: sources.images ?? [],
    vars: sources.vars ?? [],
    variables: new Map(sources.var ?? []),
  };
  const read = readClusterInputs(names, files, findings);
  const inputs = { ...read, site: inForce(read.site) };
  const docker = dockerCredentials(sources, inputs, context, findings);
  return { plan: makePlan(inputs, findings, docker), inputs, docker, artifacts };
}

function refuseTwoStdins({
  profile = [],
  userData,
  site,
  images = [],
  vars = [],
}: PlanSources): void {
  const names = [...profile, userData, site, ...images, ...vars].filter((name) => name === "-");
  if (names.length < 2) return;
  throw new Failure({
    code: "usage",
    message: "Cannot read standard input twice: - is given for more than one file",
    hint: "Give all files but one by name",
  });
}

/** Nothing comes from Docker's configuration unless the person said so. */
export function dockerCredentials(
  { dockerConfig }: Pick<PlanSources, "dockerConfig">,
  { site }: Pick<ClusterInputs, "site">,
  { files, env, home }: Pick<SiteContext, "files" | "env" | "home">,
  findings: Findings,
): DockerCredentials {
  const wanted = dockerConfig ?? site.dockerConfig;
  const namedAt = dockerConfig === undefined ? site.dockerConfigAt : undefined;
  if (wanted === false) return () => undefined;
  const candidates = typeof wanted === "string" ? [wanted] : dockerConfigFiles(env, home);
  const configs = candidates.flatMap((file): DockerConfig[] => {
    const bytes = files.read(file);
    if (isProblem(bytes) && bytes.code === "input-missing" && wanted === true) return [];
    try {
      if (isProblem(bytes)) throw unreadable(file, bytes.message);
      return [parseDockerConfig(new TextDecoder().decode(bytes), file)];
    } catch (error) {
      if (!isFailure(error)) throw error;
      const place = isProblem(bytes) ? namedAt : undefined;
      findings.fault(place ?? wholeFile(file), error.code, error.message, error.hint);
      return [];
    }
  });
  return (source) => {
    for (const config of configs) {
      const credential = lookupDockerConfig(config, source);
      if (credential !== undefined) return credential;
    }
    return undefined;
  };
}

function wholeFile(file: string): Place {
  return { file, line: 1, column: 1, path: "" };
}

function unreadable(file: string, problem: string): Failure {
  return new Failure({
    code: "docker-config-invalid",
    message: `Cannot read Docker's configuration "${file}": ${problem}`,
    hint: "Name the right file with --docker-config FILE, or leave the option out",
  });
}
