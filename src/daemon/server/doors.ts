import { readFileSync } from "node:fs";
import { type Clock, Failure, quoted, Secret, systemErrorCode } from "#base";
import {
  type CertificateFiles,
  type FileUsers,
  openHtpasswd,
  readCertificate,
  watchCertificate,
} from "#registry";
import type { AgentJournal } from "../chronicle.ts";
import type { AgentControl } from "../control.ts";
import { PAGE_POLICY, pageAssets } from "../page/page.ts";
import type { Part } from "../supervise.ts";
import { type ApiAccess, unguardedAccess, userAccess } from "./access.ts";
import { createApi } from "./api.ts";
import { LoginJournal } from "./login-journal.ts";
import { refuseExposure, serveOnAddress, serveOnSocket } from "./serve.ts";

/** What both doors of an agent need. */
export interface DoorOptions {
  readonly control: AgentControl;
  readonly clock: Clock;
  /** Told of faults that were answered with a 500, and of certificates that can't be used. */
  readonly onError: (error: unknown) => void;
}

/**
 * The door for the command line of this machine: the API on a Unix socket, without a login, for whoever may
 * open the file. The part fails with `api-address`.
 *
 * @param path `agent.sock` in the data directory
 */
export function socketDoor(path: string, { control, clock, onError }: DoorOptions): Part {
  return {
    name: "socket",
    async run(signal, onListening) {
      const access = unguardedAccess();
      const page = { page: [], pagePolicy: PAGE_POLICY, isLoopbackOnly: false };
      const api = createApi({ ...{ control, access, clock, onError }, ...page });
      await using server = await serveOnSocket(api, path);
      onListening(server.address);
      await aborted(signal);
    },
  };
}

/** The door for people and programs elsewhere: `agent:` of the site file. */
export interface AddressDoorOptions extends DoorOptions {
  readonly hostname: string;
  readonly port: number;
  readonly tls?: CertificateFiles;
  /** An htpasswd file; without one everybody who reaches the door operates. */
  readonly usersFile?: string;
  /** Users who may ask for actions. */
  readonly operators?: readonly string[];
  /** A file with the token that lets a scraper fetch the metrics, and nothing else. */
  readonly metricsTokenFile?: string;
  readonly journal: Pick<AgentJournal, "add">;
}

/**
 * The API and the status page on an address. The part fails with `api-exposed`, `api-address`,
 * `registry-certificate`, `htpasswd-unreadable`, `htpasswd-invalid` or `metrics-token`.
 */
export function addressDoor(options: AddressDoorOptions): Part {
  const { control, clock, onError, hostname, port, tls } = options;
  return {
    name: "api",
    async run(signal, onListening) {
      const users =
        options.usersFile === undefined ? undefined : await openHtpasswd(options.usersFile);
      refuseExposure(hostname, { hasTls: tls !== undefined, hasUsers: users !== undefined });
      const access = users === undefined ? unguardedAccess() : accessFor(users, options, signal);
      const api = createApi({
        ...{ control, access, clock, onError },
        ...{ page: pageAssets(), pagePolicy: PAGE_POLICY },
        isLoopbackOnly: users === undefined,
      });
      const certificate = tls && readCertificate(tls);
      await using server = serveOnAddress({
        ...{ api, hostname, port },
        ...(certificate === undefined ? {} : { tls: certificate }),
      });
      onListening(server.address);
      const watch = { clock, signal, onProblem: onError };
      const onChange = server.replaceCertificate;
      if (tls === undefined) await aborted(signal);
      else await watchCertificate(tls, { ...watch, onChange });
    },
  };
}

function accessFor(
  users: FileUsers,
  { operators = [], tls, clock, metricsTokenFile, journal }: AddressDoorOptions,
  signal: AbortSignal,
): ApiAccess {
  const logins = new LoginJournal({ journal, clock, signal });
  const token = metricsTokenFile;
  if (token !== undefined) readToken(token);
  return userAccess({
    ...{ users, clock, operators: new Set(operators), isTls: tls !== undefined },
    ...(token === undefined ? {} : { metricsToken: () => readToken(token) }),
    onFailedLogin: (client) => logins.failed(client),
  });
}

/** Read for each scrape, so that a new one counts at once. */
function readToken(path: string): Secret {
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw badToken(path, `the system answered ${systemErrorCode(cause) ?? "an unknown error"}`);
  }
  if (/^[!-~]{16,1024}$/.test(text)) return new Secret(text);
  throw badToken(path, "it does not hold one word of 16 to 1024 characters");
}

function badToken(path: string, why: string): Failure {
  return new Failure({
    code: "metrics-token",
    message: `Cannot read the token of the metrics from ${quoted(path)}: ${why}, expected one line with a token`,
    hint: `Make one with \`openssl rand -hex 32 > ${path}\``,
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
