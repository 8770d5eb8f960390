import { resolve } from "node:path";
import { imageLayers, type LeftOut, type Unpacked, unpackLayers } from "#archive";
import { formatBytes, formatDuration, printable } from "#base";
import { openStore } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import type { OutputFormat } from "./plan.ts";
import { findStoredImage } from "./stored-image.ts";

/** The words of `dray unpack` on the command line. */
export interface UnpackCommandOptions {
  readonly output: OutputFormat;
  readonly dataDir: string;
  readonly platform?: string;
  readonly rootless?: boolean;
  /** Bytes. */
  readonly maxSize?: number;
}

/** `dray unpack REF DIR`: an image of the store as a root file system. */
export async function runUnpack(
  reference: string,
  folder: string,
  { output, dataDir, platform, rootless: isRootless = false, maxSize }: UnpackCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { clock, signal } = context;
  const startedMs = clock.monotonic();
  await using store = await openStore(resolve(dataDir), { clock, readOnly: true });
  const { name, graph } = await findStoredImage(reference, store, platform, context);
  const layers = await imageLayers(store, graph, { signal });
  const unpacked = await unpackLayers(store, layers, folder, {
    ...{ signal, isRootless },
    ...(maxSize === undefined ? {} : { bytesMax: maxSize }),
  });
  const answer = {
    ...{ image: name, manifest: graph.manifest.digest, ...unpacked },
    durationMs: Math.round(clock.monotonic() - startedMs),
  };
  context.err(unpacked.leftOut.map(formatLeftOut).join(""));
  context.out(output === "json" ? formatJson(answer) : formatText(answer));
  return EXIT.done;
}

interface UnpackAnswer extends Unpacked {
  readonly image: string;
  readonly manifest: string;
  readonly durationMs: number;
}

function formatJson(answer: UnpackAnswer): string {
  return `${JSON.stringify({ apiVersion: "drayage/v1", kind: "Unpacking", ...answer }, null, 2)}\n`;
}

function formatText({ image, folder, entries, layers, bytes, durationMs }: UnpackAnswer): string {
  const work = `${entries} files of ${layers} ${layers === 1 ? "layer" : "layers"}`;
  const cost = `${formatBytes(bytes)} in ${formatDuration(durationMs)}`;
  return `Unpacked ${printable(image)} to ${printable(folder)}: ${work} (${cost})\n`;
}

const LEFT_OUT: Readonly<Record<LeftOut["kind"], string>> = {
  owners: "have this user as their owner and not their own",
  devices: "are devices, and not there",
  attributes: "are without some of their extended attributes",
};

function formatLeftOut({ kind, files, example }: LeftOut): string {
  return `warning: ${files} ${files === 1 ? "file" : "files"} ${LEFT_OUT[kind]}, e.g. ${printable(`/${example}`)}\n`;
}
