import { resolve } from "node:path";
import { quoted } from "#base";
import {
  type Access,
  type CertificateFiles,
  createAccess,
  limitRequests,
  openAccess,
  openHtpasswd,
  readCertificate,
  refuseExposure,
  type ServedRequest,
} from "#registry";
import { serveEmbedded } from "#site";
import { openStore } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { parseListen } from "./listen.ts";
import { formatError } from "./report.ts";
import { usage } from "./usage.ts";

/** The words of `dray registry serve` on the command line. */
export interface RegistryServeOptions {
  readonly dataDir: string;
  readonly listen: string;
  readonly readOnly?: boolean;
  /** False with `--no-delete`. */
  readonly delete?: boolean;
  readonly catalog?: boolean;
  readonly htpasswd?: string;
  readonly pushers?: readonly string[];
  readonly anonymousPull?: boolean;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly rateLimit?: string;
  readonly uploadAge?: string;
  readonly accessLog?: boolean;
}

/** How long requests that are under way may go on after Ctrl-C, in milliseconds; a second one cuts them at once. */
const STOP_GRACE_MS = 10_000;

/** How long an upload may idle before it is removed, in hours. */
const UPLOAD_AGE_HOURS = "24";

const HOUR_MS = 3_600_000;

/**
 * `dray registry serve`: serves the store until it is told to stop. It writes what is pushed, for which
 * it has the store in a role of its own, so a delivery may go on beside it.
 */
export async function runRegistryServe(
  options: RegistryServeOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { clock, signal } = context;
  const { hostname, port } = parseListen(options.listen, "127.0.0.1:5055");
  const files = certificateFiles(options);
  if (files !== undefined) readCertificate(files);
  const access = await accessFor(options, context);
  const uploadAgeMs = parseAmount("--upload-age", options.uploadAge ?? UPLOAD_AGE_HOURS) * HOUR_MS;
  // Before there is a store: what is refused leaves nothing behind.
  refuseExposure(hostname, { hasTls: files !== undefined, hasUsers: access.hasUsers });
  const readOnly = options.readOnly === true;
  const dataDir = resolve(options.dataDir);
  await using store = await openStore(dataDir, { clock, readOnly, role: "registry" });
  if (store.recoveryText !== undefined) context.err(`warning: ${store.recoveryText}\n`);
  await serveEmbedded({
    ...{ store, hostname, port, access, uploadAgeMs, clock, signal },
    ...(files === undefined ? {} : { tls: files }),
    isWritable: !readOnly,
    isDeletable: options.delete !== false,
    isListed: options.catalog === true,
    stopMs: STOP_GRACE_MS,
    onListening: (url) => context.err(`Serving ${dataDir} on ${url}\n`),
    onRequest: (request) => report(request, options, context),
    onNews: (text) => context.err(`${text}\n`),
    onTrouble: (error) => context.err(formatError(error)),
  });
  return EXIT.done;
}

async function accessFor(options: RegistryServeOptions, context: CliContext): Promise<Access> {
  const { htpasswd, pushers, anonymousPull = false } = options;
  const { clock } = context;
  if (htpasswd === undefined && (pushers !== undefined || anonymousPull)) {
    throw usage(
      "Cannot tell who may push from who may pull: --pushers or --anonymous-pull was given without users",
      "Add --htpasswd FILE, or leave them out: without users everything is allowed to everybody",
    );
  }
  const access =
    htpasswd === undefined
      ? openAccess
      : createAccess({
          ...{ clock, anonymousPull, users: await openHtpasswd(htpasswd) },
          ...(pushers === undefined ? {} : { pushers: parsePushers(pushers) }),
        });
  if (options.rateLimit === undefined) return limitRequests(access, { clock });
  const perSecond = parseAmount("--rate-limit", options.rateLimit);
  return perSecond === 0 ? access : limitRequests(access, { clock, perSecond });
}

function report(
  request: ServedRequest,
  { accessLog }: RegistryServeOptions,
  context: CliContext,
): void {
  const { error, ...line } = request;
  if (accessLog === true) context.out(`${JSON.stringify(line)}\n`);
  if (error !== undefined) context.err(formatError(error));
}

/** Names, parted by commas, of an option that may be repeated. */
function parsePushers(texts: readonly string[]): ReadonlySet<string> {
  const names = texts.flatMap((text) => text.split(",")).map((name) => name.trim());
  return new Set(names.filter((name) => name !== ""));
}

function parseAmount(option: string, text: string): number {
  if (/^\d{1,6}(\.\d{1,3})?$/.test(text)) return Number(text);
  throw usage(
    `Cannot use ${option} ${quoted(text)}: expected a number that is zero or more`,
    `Write it like "${option} 24" or "${option} 0.5"`,
  );
}

function certificateFiles(options: RegistryServeOptions): CertificateFiles | undefined {
  const { tlsCert: certFile, tlsKey: keyFile } = options;
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile };
  throw usage(
    "Cannot serve TLS: --tls-cert and --tls-key were expected together, and one is missing",
    "Give both, as PEM files",
  );
}
