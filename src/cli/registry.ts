import { resolve } from "node:path";
import { Failure, quoted } from "#base";
import { DEFAULT_PROJECT, isProblem } from "#profile";
import { createRegistry, openHtpasswd, type ServedRequest, serveRegistry } from "#registry";
import { openStore } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import { formatError } from "./report.ts";

/** The words of `dray registry serve` on the command line. */
export interface RegistryServeOptions {
  readonly dataDir: string;
  readonly listen: string;
  readonly htpasswd?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly accessLog?: boolean;
}

/** How long requests that are under way may go on after Ctrl-C, in milliseconds. */
const STOP_GRACE_MS = 1_000;

/** `dray registry serve`: serves the store until it is told to stop. It reads only, so a delivery may go on beside it. */
export async function runRegistryServe(
  options: RegistryServeOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { hostname, port } = parseListen(options.listen);
  const tls = readTls(options, context);
  await using store = await openStore(resolve(options.dataDir), {
    clock: context.clock,
    readOnly: true,
  });
  const registry = createRegistry({
    store,
    project: DEFAULT_PROJECT,
    ...(options.htpasswd === undefined ? {} : { users: await openHtpasswd(options.htpasswd) }),
    onRequest: (request) => report(request, options, context),
  });
  await using server = serveRegistry({
    registry,
    hostname,
    port,
    ...(tls === undefined ? {} : { tls }),
  });
  const scheme = tls === undefined ? "http" : "https";
  context.err(`Serving ${resolve(options.dataDir)} on ${scheme}://${server.address}\n`);
  await aborted(context.signal);
  await Promise.race([
    server.stop(),
    context.clock.sleep(STOP_GRACE_MS, new AbortController().signal),
  ]);
  return EXIT.done;
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

function parseListen(text: string): { readonly hostname: string; readonly port: number } {
  const [, hostname, port] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  if (hostname !== undefined && Number(port) < 65_536) return { hostname, port: Number(port) };
  throw new Failure({
    code: "usage",
    message: `Cannot listen on ${quoted(text)}: expected host:port`,
    hint: 'Write it like "127.0.0.1:5055"; port 0 takes a free one',
  });
}

function readTls(
  { tlsCert, tlsKey }: RegistryServeOptions,
  { files }: CliContext,
): { readonly cert: string; readonly key: string } | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new Failure({
      code: "usage",
      message:
        "Cannot serve TLS: --tls-cert and --tls-key were expected together, and one is missing",
      hint: "Give both, as PEM files",
    });
  }
  const [cert, key] = [tlsCert, tlsKey].map((file) => {
    const bytes = files.read(file);
    if (!isProblem(bytes)) return new TextDecoder().decode(bytes);
    throw new Failure({
      code: "usage",
      message: `Cannot read ${quoted(file)}: ${bytes.message}`,
      hint: "Check the name, and that this user may read the file",
    });
  });
  return { cert: cert ?? "", key: key ?? "" };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
}
