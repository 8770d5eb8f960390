import { lstatSync } from "node:fs";
import { join } from "node:path";
import { exportArchive, exportLayout, imageLayers, unpackLayers } from "#archive";
import { Failure, formatDuration, printable, quoted } from "#base";
import type { CallOptions } from "#content";
import {
  CommandFailure,
  type HandOver,
  type HandOverEnd,
  type HandOverOptions,
  type HandOverStart,
  type ProviderImage,
} from "#deliver";
import { type Descriptor, digestAlgorithm, digestHex } from "#oci";
import { fillPlaceholders, type HandOverSettings } from "#profile";
import { formatReference, parseReference, prependRegistry } from "#reference";
import type { DiskStore, HandedOver } from "#store";
import type { SiteContext } from "./context.ts";
import { isNewest, removeDrafts, replaceFolder } from "./own-folder.ts";
import { type CommandEnd, runCommand } from "./run-command.ts";

/** What a hand-over needs beside its settings. */
export interface HandOverPlace {
  readonly store: DiskStore;
  readonly dataDir: string;
  /** Where the embedded registry is dialled: `host:port`. */
  readonly registry: string;
  readonly context: Pick<SiteContext, "clock" | "env">;
  /** The command is run also when it succeeded for this very image before. */
  readonly isAgain: boolean;
}

/**
 * Gives the provider image to the operating system as the site file says: in a form that is made first,
 * then by a command. What was made, and whether the command succeeded, is remembered by the digest.
 *
 * @returns undefined when nothing is to be handed over
 */
export function openHandOver(
  settings: HandOverSettings,
  place: HandOverPlace,
): HandOver | undefined {
  if (settings.form === "none") return undefined;
  return { run: (image, options) => handOver(image, settings, place, options) };
}

/**
 * So often in a row a command may be started without coming to an end: one that restarts the machine
 * before it has ended would have it restarted for good.
 */
const STARTS_MAX = 3;

async function handOver(
  image: ProviderImage,
  settings: HandOverSettings,
  place: HandOverPlace,
  options: HandOverOptions,
): Promise<HandOverEnd> {
  const { store, isAgain, context } = place;
  const { command } = settings;
  const last = await store.provider.handedOver();
  const start = startOf(image, settings, place);
  const isSame = last !== undefined && isSameForm(last, image, settings);
  const isCommandSame = isSame && JSON.stringify(last.command) === JSON.stringify(command);
  const isThere = isSame && isMade(last, settings);
  // What the command was given may be gone since: it did its work.
  const isDone = isCommandSame && last.doneMs !== null && (command.length > 0 || isThere);
  if (isDone && !isAgain) return { ...start, outcome: "present", exitStatus: null };
  const starts = isCommandSame && !isAgain ? last.starts : 0;
  if (starts >= STARTS_MAX) throw unfinished(start);
  options.onStart(start);
  const identity = isThere ? last.identity : await make(image, settings, last, place, options);
  const handed = recordOf(image, settings, identity);
  await store.provider.noteHandOver({ ...handed, starts: starts + 1 });
  const end = await run(image, start, settings, place, options);
  // What a signal ended may have been ended by the restart that it asked for.
  if (end.failure !== undefined && end.isKilled) throw end.failure;
  const doneMs = end.failure === undefined ? context.clock.now() : null;
  await store.provider.noteHandOver({ ...handed, doneMs });
  if (end.failure !== undefined) throw end.failure;
  return { ...start, outcome: "done", exitStatus: command.length === 0 ? null : 0 };
}

function startOf(
  { name, graph }: ProviderImage,
  { form, path, command }: HandOverSettings,
  { registry }: HandOverPlace,
): HandOverStart {
  const { domain, path: repository } = parseReference(name);
  // By digest: what the operating system gets is what was verified, whatever is pushed meanwhile.
  const pinned = { domain, path: repository, digest: graph.manifest.digest };
  const target = path ?? formatReference(prependRegistry(pinned, { domain: registry, path: "" }));
  return { form, target, program: command[0] ?? null };
}

function isSameForm(
  last: HandedOver,
  { graph }: ProviderImage,
  { form, path }: HandOverSettings,
): boolean {
  return (
    last.manifest === graph.manifest.digest && last.form === form && last.path === (path ?? null)
  );
}

/** Whether what was made last still lies there. */
function isMade({ identity }: HandedOver, { form, path }: HandOverSettings): boolean {
  if (path === undefined) return true;
  return form === "oci-archive" ? fileIdentity(path) === identity : isNewest(path, identity);
}

function recordOf(
  { graph }: ProviderImage,
  { form, path, command }: HandOverSettings,
  identity: string | null,
): HandedOver {
  const { digest: manifest } = graph.manifest;
  return { manifest, form, path: path ?? null, identity, command, starts: 0, doneMs: null };
}

/** @returns what tells it from whatever else may come to lie there */
async function make(
  image: ProviderImage,
  settings: HandOverSettings,
  last: HandedOver | undefined,
  place: HandOverPlace,
  { signal }: CallOptions,
): Promise<string | null> {
  const { store, dataDir } = place;
  const { form, path } = settings;
  if (path === undefined) return null;
  if (form === "oci-archive") {
    removeDrafts(path);
    await exportArchive(store, image, path, { signal });
    return fileIdentity(path) ?? null;
  }
  const made: { identity: string | null } = { identity: null };
  const note = async (identity: string) => {
    made.identity = identity;
    await store.provider.noteHandOver(recordOf(image, settings, identity));
  };
  const identity = last?.path === path ? (last.identity ?? undefined) : undefined;
  await replaceFolder({ path, identity, note }, async (folder) => {
    if (form === "oci") {
      const blobFile = ({ digest }: Descriptor) =>
        join(dataDir, "blobs", digestAlgorithm(digest), digestHex(digest));
      await exportLayout(store, image, folder, { signal, blobFile });
    } else {
      const layers = await imageLayers(store, image.graph, { signal });
      await unpackLayers(store, layers, folder, { signal });
    }
  });
  return made.identity;
}

function fileIdentity(path: string): string | undefined {
  const status = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return status?.isFile() === true ? `${status.ino} ${status.size} ${status.mtimeNs}` : undefined;
}

/** What `kairos-agent upgrade --source` takes, by form; it has no word for a layout. */
const SOURCE_SCHEMES = { "oci-archive": "ocifile", rootfs: "dir", reference: "oci" } as const;

/** How a command ended; without a failure it ended well, or there is none. */
interface RunEnd {
  readonly failure?: Failure;
  readonly isKilled: boolean;
}

async function run(
  { name, graph }: ProviderImage,
  { target }: HandOverStart,
  { form, path, command, timeoutMs }: HandOverSettings,
  { context }: HandOverPlace,
  { signal, onOutput }: HandOverOptions,
): Promise<RunEnd> {
  if (command.length === 0) return { isKilled: false };
  const values = {
    ...{ image: name, digest: graph.manifest.digest },
    ...(path === undefined ? { reference: target } : { path }),
    ...(form in SOURCE_SCHEMES
      ? { source: `${SOURCE_SCHEMES[form as keyof typeof SOURCE_SCHEMES]}:${target}` }
      : {}),
  };
  const tail: string[] = [];
  const end = await runCommand(fillPlaceholders(command, values), {
    ...{ env: context.env, timeoutMs, signal },
    onLine(line) {
      tail.push(line);
      if (tail.length > TAIL_LINES) tail.shift();
      onOutput(line);
    },
  });
  if (end.kind === "exited" && end.exitStatus === 0) return { isKilled: false };
  const failure = commandFailure(command[0] ?? "", end, tail, timeoutMs);
  return { failure, isKilled: end.kind === "killed" };
}

/** Of what a program wrote last, so much is part of the failure. */
const TAIL_LINES = 3;

function unfinished({ program }: HandOverStart): Failure {
  return new Failure({
    code: "hand-over-unfinished",
    message: `Cannot hand over the provider image: ${quoted(program ?? "")} was started ${STARTS_MAX} times for it and never came to an end, expected one`,
    hint: "If it restarts the machine, let it end first and the machine restart a while later; then run `dray deliver --again`",
  });
}

function commandFailure(
  program: string,
  end: CommandEnd,
  tail: readonly string[],
  timeoutMs: number,
): Failure {
  const words = tail.length === 0 ? "" : `; it wrote last: ${quoted(tail.join(" / "), 600)}`;
  const cannot = `Cannot hand over the provider image: ${quoted(program)}`;
  const again = "It is run again by the next delivery";
  switch (end.kind) {
    case "unstartable":
      return new Failure({
        code: "hand-over-missing",
        message: `${cannot} can't be started (${end.code}), expected a program in PATH or an absolute path`,
        hint: "Install it, or correct provider.handOver.command in the site file",
      });
    case "timeout":
      return new Failure({
        code: "hand-over-timeout",
        message: `${cannot} was still running after ${formatDuration(timeoutMs)} and was ended${words}`,
        hint: `Find out what it waits for, or set provider.handOver.timeout to more. ${again}`,
      });
    case "killed":
      return new CommandFailure(
        {
          code: "hand-over-failed",
          message: `${cannot} was ended by ${printable(end.by)}, expected exit status 0${words}`,
          hint: `\`dmesg\` and \`dray journal\` may tell who ended it. ${again}`,
        },
        null,
      );
    case "exited":
      return new CommandFailure(
        {
          code: "hand-over-failed",
          message: `${cannot} ended with status ${end.exitStatus}, expected 0${words}`,
          hint: `\`dray journal\` has more of what it wrote. ${again}`,
        },
        end.exitStatus,
      );
  }
}
