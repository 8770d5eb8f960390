import { join, resolve } from "node:path";
import { type Exported, exportArchive, exportLayout } from "#archive";
import { formatBytes, printable, quoted } from "#base";
import { digestAlgorithm, digestHex } from "#oci";
import { openStore } from "#store";
import { type CliContext, EXIT, type ExitCode } from "./context.ts";
import type { OutputFormat } from "./plan.ts";
import { findStoredImage } from "./stored-image.ts";
import { usage } from "./usage.ts";

/** The words of `dray export` on the command line. */
export interface ExportCommandOptions {
  readonly output: OutputFormat;
  readonly dataDir: string;
  readonly platform?: string;
  /** `oci:DIR` or `oci-archive:FILE`. */
  readonly to: string;
  /** Blobs are copies, and no hard links to those of the store. */
  readonly copy?: boolean;
}

/** `dray export REF --to oci:DIR|oci-archive:FILE`: an image of the store for another program. */
export async function runExport(
  reference: string,
  { output, dataDir: folder, platform, to, copy: isCopy = false }: ExportCommandOptions,
  context: CliContext,
): Promise<ExitCode> {
  const { clock, signal } = context;
  const { form, path } = parseTarget(to);
  const dataDir = resolve(folder);
  await using store = await openStore(dataDir, { clock, readOnly: true });
  const image = await findStoredImage(reference, store, platform, context);
  const exported =
    form === "oci"
      ? await exportLayout(store, image, path, {
          signal,
          ...(isCopy
            ? {}
            : {
                blobFile: ({ digest }) =>
                  join(dataDir, "blobs", digestAlgorithm(digest), digestHex(digest)),
              }),
        })
      : await exportArchive(store, image, path, { signal });
  const answer = { image: image.name, manifest: image.graph.manifest.digest, form, ...exported };
  context.out(output === "json" ? formatJson(answer) : formatText(answer));
  return EXIT.done;
}

interface ExportAnswer extends Exported {
  readonly image: string;
  readonly manifest: string;
  readonly form: string;
}

function parseTarget(text: string): {
  readonly form: "oci" | "oci-archive";
  readonly path: string;
} {
  const [, form, path] = /^(oci|oci-archive):(.+)$/s.exec(text) ?? [];
  if ((form === "oci" || form === "oci-archive") && path !== undefined) {
    return { form, path: resolve(path) };
  }
  throw usage(
    `Cannot export to ${quoted(text)}: expected oci:FOLDER or oci-archive:FILE`,
    "For example `--to oci-archive:/var/lib/drayage-export/os.tar`",
  );
}

function formatJson(answer: ExportAnswer): string {
  return `${JSON.stringify({ apiVersion: "drayage/v1", kind: "Export", ...answer }, null, 2)}\n`;
}

function formatText({ image, form, path, blobs, bytes, linked }: ExportAnswer): string {
  const shared = linked === 0 ? "" : `, ${linked} shared with the store`;
  const total = `${blobs} blobs, ${formatBytes(bytes)}${shared}`;
  return `Exported ${printable(image)} to ${form}:${printable(path)} (${total})\n`;
}
