import { join, resolve } from "node:path";
import { Failure, Findings, quoted, Secret } from "#base";
import { DEFAULT_SITE, isProblem, readSiteFile } from "#profile";
import type { AgentPlaceOptions } from "./agent-options.ts";
import type { CliContext } from "./context.ts";

/** Where an agent takes requests. */
export type AgentPlace =
  | { readonly kind: "socket"; readonly path: string }
  | {
      readonly kind: "address";
      /** Scheme, host and port, and nothing else. */
      readonly origin: string;
      readonly login: { readonly user: string; readonly password: Secret } | undefined;
      /** Authorities of its certificate, PEM; undefined: those of this machine. */
      readonly ca: string | undefined;
    };

/** The agent's socket, in its data folder. */
const SOCKET_NAME = "agent.sock";

/** The data folder that the options name. @throws {Failure} `input-missing`, `input-unreadable`, … */
export function dataDirOf({ dataDir, site }: AgentPlaceOptions, context: CliContext): string {
  if (dataDir !== undefined) return resolve(dataDir);
  if (site === undefined) return DEFAULT_SITE.dataDir;
  readInput(site, "the site file", context);
  // What else is wrong with the file is the agent's to tell, and just then it must be found.
  return resolve(readSiteFile(site, context.files, new Findings()).dataDir);
}

/** Where the agent is by the options. @throws {Failure} `usage`, or why a file can't be read */
export function agentPlace(options: AgentPlaceOptions, context: CliContext): AgentPlace {
  const { agent, user, passwordFile, caFile } = options;
  if (agent === undefined) {
    if (user !== undefined || passwordFile !== undefined || caFile !== undefined) {
      throw usage(
        "Cannot use --user, --password-file or --ca-file for a socket: it asks for no login",
        "Name the agent's address with --agent, or leave them out",
      );
    }
    return { kind: "socket", path: join(dataDirOf(options, context), SOCKET_NAME) };
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
      : { user, password: readPassword(passwordFile, context) };
  const ca = caFile === undefined ? undefined : readInput(caFile, "the authority", context);
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
  if (url.protocol === "http:" && hasLogin && !isLoopbackHost(url.hostname)) {
    throw usage(
      `Cannot send a password to ${quoted(url.origin)}: plain http was found, https expected`,
      "Name the agent by https; off loopback it serves nothing else",
    );
  }
  return url.origin;
}

/** As a parsed URL has it: addresses in their shortest form, names in lower case. */
function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

function readPassword(file: string, context: CliContext): Secret {
  const [password = ""] = readInput(file, "the password file", context).split(/\r?\n/);
  if (password !== "") return new Secret(password);
  throw usage(
    `Cannot use the password file ${quoted(file)}: it is empty`,
    "Write the password on its first line",
  );
}

function readInput(file: string, what: string, { files }: CliContext): string {
  const bytes = files.read(file);
  if (!isProblem(bytes)) return new TextDecoder().decode(bytes);
  throw usage(
    `Cannot read ${what} ${quoted(file)}: ${bytes.message}`,
    "Check the name, and that this user may read the file",
  );
}

function usage(message: string, hint: string): Failure {
  return new Failure({ code: "usage", message, hint });
}
