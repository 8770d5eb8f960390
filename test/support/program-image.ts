import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { digestOf, type Store } from "#content";
import { type Descriptor, OCI_MANIFEST } from "#oci";
import { putBytes, putJson } from "#test-support/images";
import { tarOf } from "#test-support/tar";

/** Whether programs can be made that need nothing but the kernel. */
export const hasCompiler: boolean = Bun.which("gcc") !== null;

/** Compiles a C program that needs nothing but the kernel. */
export async function compileStatic(source: string): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), "drayage-program-"));
  try {
    await writeFile(join(folder, "main.c"), source);
    const words = ["gcc", "-static", "-O1", "-o", join(folder, "main"), join(folder, "main.c")];
    const child = Bun.spawn(words, { stderr: "pipe" });
    const err = await new Response(child.stderr).text();
    if ((await child.exited) !== 0) throw new Error(`gcc: ${err}`);
    return await readFile(join(folder, "main"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Builds an image of this machine's platform that runs a program, and names it. */
export async function buildProgramImage(
  store: Store,
  name: string,
  program: Uint8Array,
  options: { readonly diffId?: string } = {},
): Promise<Descriptor> {
  const tar = tarOf([{ path: "main", mode: 0o755, body: program }]);
  const layer = await putBytes(
    store,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    gzipSync(tar, { level: 1 }),
  );
  const config = await putJson(store, "application/vnd.oci.image.config.v1+json", {
    ...{ os: "linux", architecture: process.arch === "x64" ? "amd64" : process.arch },
    config: { Entrypoint: ["/main"], Labels: { name } },
    rootfs: { type: "layers", diff_ids: [options.diffId ?? digestOf(tar)] },
  });
  const root = await putJson(store, OCI_MANIFEST, {
    ...{ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] },
  });
  await store.name(name, root);
  return root;
}
