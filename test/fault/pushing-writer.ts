import { systemClock } from "#base";
import { openStore } from "#store";
import { content } from "./contents.ts";
import { append, REPOSITORY, roomyDisk } from "./pushes.ts";

const CHUNK_BYTES = 300_000;

/**
 * A program to be killed: `pushing-writer.ts DATA_DIR [ID]` goes on with the upload of that id, then
 * pushes without end, and tells each step. Content is named by the upload that brought it.
 */
async function pushWithoutEnd(dataDir: string, id: string): Promise<void> {
  const options = { clock: systemClock, disk: roomyDisk, role: "registry" } as const;
  const store = await openStore(dataDir, options);
  for (let left = await store.uploads.find(id); ; left = undefined) {
    const upload = left ?? (await store.uploads.begin(REPOSITORY, null));
    console.log(`begun ${upload.id}`);
    const pushed = content(upload.id, 2_000_000);
    while (upload.bytes < 2_000_000) {
      await append(upload, pushed, Math.min(upload.bytes + CHUNK_BYTES, 2_000_000));
      console.log(`has ${upload.bytes}`);
    }
    await store.repositories.linkBlob(REPOSITORY, await upload.commit(pushed.descriptor.digest));
    console.log(`committed ${upload.id}`);
  }
}

await pushWithoutEnd(process.argv[2] ?? "", process.argv[3] ?? "");
