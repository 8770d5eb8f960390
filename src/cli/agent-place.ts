import { join, resolve } from "node:path";
import { Failure, Findings, quoted, type Secret } from "#base";
import { DEFAULT_SITE, isProblem, readSiteFile } from "#profile";
import { isLoopback } from "#redirect";
import type { AgentPlaceOptions } from "./agent-options.ts";
import type { CliContext } from "./context.ts";
import { readNamedFile, readPasswordFile } from "./named-files.ts";
import { usage } from "./usage.ts";

/** Where an agent takes requests. */
export type AgentPlace =
  | {
      readonly kind: "socket";
      readonly path: string;
      /** What says that it is there: `dataDir of "/etc/drayage/site.yaml"`. */
      readonly because: string;
    }
  | {
      readonly kind: "address";
      /** Scheme, host and port, and nothing else. */
      readonly origin: string;
      readonly login: { readonly user: string; readonly password: Secret } | undefined;
      /** Authorities of its certificate, PEM; undefined: those of this machine. */
      readonly ca: string | undefined;
    };

/** A data folder, and what says that it is this one. */
interface DataDir {
  readonly path: string;
  readonly because: string;
}

/**
 * The agent's socket, in its data folder: `agentSocket` of the room `site`, which takes too long to load
 * for one name.
 */
const SOCKET_NAME = "agent.sock";

/** The site file that the agent's unit (`deploy/drayage.service`) names. */
const SITE_FILE = "/etc/drayage/site.yaml";

/**
 * The data folder that the options name; without any, that of the site file which the agent's unit reads.
 *
 * @throws {Failure} `usage` when the named site file can't be read; `input-unreadable` and
 *   `input-too-large` when the unit's can't be
 */
export function dataDirOf(
  { dataDir, site }: AgentPlaceOptions,
  context: Pick<CliContext, "files">,
): DataDir {
  if (dataDir !== undefined) return { path: resolve(dataDir), because: "by --data-dir" };
  if (site !== undefined) {
    readNamedFile(site, "the site file", context);
    return dataDirIn(site, context);
  }
  const bytes = context.files.read(SITE_FILE);
  if (!isProblem(bytes)) return dataDirIn(SITE_FILE, context);
  if (bytes.code === "input-missing") {
    return { path: DEFAULT_SITE.dataDir, because: `there is no ${SITE_FILE} to say otherwise` };
  }
  throw new Failure({
    code: bytes.code,
    message: `Cannot find the agent of this machine: ${quoted(SITE_FILE)} says where it is, and can't be read: ${bytes.message}`,
    hint: "Run the command as root, e.g. with sudo, or say where the agent is with --data-dir or --agent",
  });
}

/** What else is wrong with the file is the agent's to tell, and just then it must be found. */
function dataDirIn(site: string, { files }: Pick<CliContext, "files">): DataDir {
  const path = resolve(readSiteFile(site, files, new Findings()).dataDir);
  return { path, because: `dataDir of ${quoted(site)}` };
}

/**
 * Where the agent is by the options.
 *
 * @throws {Failure} `usage`; what {@link dataDirOf} throws
 */
export function agentPlace(
  options: AgentPlaceOptions,
  context: Pick<CliContext, "files">,
): AgentPlace {
  const { agent, user, passwordFile, caFile } = options;
  if (agent === undefined) {
    if (user !== undefined || passwordFile !== undefined || caFile !== undefined) {
      throw usage(
        "Cannot use --user, --password-file or --ca-file for a socket: it asks for no login",
        "Name the agent's address with --agent, or leave them out",
      );
    }
    const { path, because } = dataDirOf(options, context);
    return { kind: "socket", path: join(path, SOCKET_NAME), because };
  }
  if ((user === undefined) !== (passwordFile === undefined)) {
    throw usage(
      "Cannot log in: --user and --password-file were expected together, and one is missing",
      "Give both",
    );
  }
  const origin = originOf(agent, user !== undefined);
  const login =
    user === undefined || passwordFile === undefined
      ? undefined
      : { user, password: readPasswordFile(passwordFile, context) };
  const ca = caFile === undefined ? undefined : readNamedFile(caFile, "the authority", context);
  return { kind: "address", origin, login, ca };
}

function originOf(text: string, hasLogin: boolean): string {
  const url = URL.parse(text);
  const isOrigin =
    url !== null &&
    (url.protocol === "https:" || url.protocol === "http:") &&
    url.pathname === "/" &&
    `${url.search}${url.hash}${url.username}${url.password}` === "";
  if (!isOrigin) {
    // What is no URL may hold a password; it is not said again.
    throw usage(
      "Cannot use the address of --agent: https://host:port was expected, with nothing before or after",
      "Write it like https://10.0.0.5:8443; a login goes into --user and --password-file",
    );
  }
  if (url.protocol === "http:" && hasLogin && !isLoopback(url.host)) {
    throw usage(
      `Cannot send a password to ${quoted(url.origin)}: plain http was found, https expected`,
      "Name the agent by https; off loopback it serves nothing else",
    );
  }
  return url.origin;
}
