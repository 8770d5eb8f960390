import { expect } from "bun:test";
import { type Failure, isFailure, Secret } from "#base";
import type { Source } from "#content";
import { type Access, ANONYMOUS } from "#credential";
import { parseReference } from "#reference";
import { Remote, type RemoteOptions } from "#remote";
import { createManualClock } from "./clock.ts";
import {
  contentOf,
  manifestOf,
  type ScriptedContent,
  type ScriptedReply,
  type ScriptedRequest,
  servedContent,
} from "./scripted-registry.ts";

/** Every secret of these tests has this word in it, and no message may. */
const CANARY = "canary";

/** The password of {@link user}. */
export const PASSWORD = `${CANARY}-password-9`;

/** `edge` with {@link PASSWORD}, as it stands in an Authorization header. */
export const BASIC = `Basic ${Buffer.from(`edge:${PASSWORD}`).toString("base64")}`;

/** An access with user and password. */
export const user: Access = {
  origin: "site:credentials[0]",
  credential: { kind: "password", username: "edge", password: new Secret(PASSWORD) },
  insecure: false,
  certificates: [],
};

export const blob = contentOf("a layer");
export const manifest = manifestOf(blob);

/** A signal that nobody aborts. */
export const signal: AbortSignal = new AbortController().signal;

/** A client whose waits take no time and to which every name is a public host. */
export function remoteWith(options: Partial<RemoteOptions> = {}): Remote {
  return new Remote({
    clock: createManualClock(),
    random: () => 0,
    userAgent: "dray/test",
    proxy: {},
    trustedTokenHosts: [],
    helpers: { get: async () => undefined },
    lookupAddresses: async () => ["203.0.113.7"],
    onNotice: ({ message }) => expectNoSecret(message),
    ...options,
  });
}

/** The repository `team/app` of a registry. */
export function sourceAt(address: string, access = ANONYMOUS, remote = remoteWith()): Source {
  return remote.repository(parseReference(`${address}/team/app:1`), access);
}

/** The failure that a promise ends in; it and what caused it may show no secret. */
export async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  try {
    await promise;
  } catch (error) {
    if (!isFailure(error)) throw error;
    expectNoSecret(shownBy(error));
    return error;
  }
  throw new Error("It did not fail");
}

function expectNoSecret(text: string): void {
  expect(text).not.toContain(CANARY);
  expect(text).not.toContain(BASIC.slice("Basic ".length));
}

function shownBy(error: unknown): string {
  if (!(error instanceof Error)) return String(error ?? "");
  const hint = isFailure(error) ? error.hint : "";
  return [error.message, hint, shownBy(error.cause)].join("\n");
}

/** Reads the layer, or what is named. */
export async function fetchText(source: Source, { descriptor } = blob): Promise<string> {
  return new Response(await source.fetch(descriptor, { signal })).text();
}

/** Reads what of some content lies from `start` on, up to its end or before `end`. */
export async function fetchRange(
  source: Source,
  { descriptor }: ScriptedContent,
  start: number,
  end = descriptor.size,
): Promise<string> {
  return new Response(await source.fetch(descriptor, { signal, range: { start, end } })).text();
}

/** A registry that has the manifest and the layer and asks for nothing. */
export function openRegistry({ path }: ScriptedRequest): ScriptedReply | undefined {
  if (path.startsWith("/v2/team/app/manifests/")) return servedContent(manifest);
  if (path === `/v2/team/app/blobs/${blob.descriptor.digest}`) return servedContent(blob);
  return undefined;
}

/** What a registry says that wants a password. */
export const basicChallenge: ScriptedReply = {
  status: 401,
  headers: { "WWW-Authenticate": 'Basic realm="r"' },
};
