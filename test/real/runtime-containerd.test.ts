import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportArchive } from "#archive";
import { systemClock } from "#base";
import { createMemoryStore, type FetchOptions, readImageGraph } from "#content";
import { type Descriptor, parsePlatform } from "#oci";
import { createRegistry, openAccess, serveRegistry } from "#registry";
import { Containerd, type ContainerdOptions, ImagesFolder } from "#runtime";
import {
  builtContainerd,
  type Containerd as ContainerdProgram,
  hasContainerd,
  startContainerd,
} from "#test-support/containerd";
import { createKubelet, type Kubelet } from "#test-support/cri";
import { cuttingSocket } from "#test-support/cutting-socket";
import { buildImage } from "#test-support/images";
import { buildProgramImage, compileStatic, hasCompiler } from "#test-support/program-image";

// Programs are started and images made: on a busy machine that takes its time.
setDefaultTimeout(60_000);

const isRoot = process.getuid?.() === 0;
const CAN_RUN = hasContainerd && hasCompiler && isRoot;
if (!hasContainerd || !hasCompiler) {
  console.warn("containerd, runc or gcc is not installed: their tests are left out");
} else if (!isRoot) console.warn("containerd needs root: its tests are left out");

const NEWER = "v2.1.4";
const newer = builtContainerd(NEWER);
if (CAN_RUN && newer === undefined) {
  console.warn(`no containerd ${NEWER} in ~/.cache/drayage-tools: its tests are left out`);
}

const SEVEN = "quay.io/team/seven:1";
const PAUSE = "registry.k8s.io/pause:3.9";
const PLATFORM = parsePlatform(`linux/${process.arch === "x64" ? "amd64" : process.arch}`);
const { signal } = new AbortController();

interface Candidate {
  readonly title: string;
  readonly programs: string | undefined;
  readonly hasPinning: boolean;
  readonly isThere: boolean;
}

const CANDIDATES: readonly Candidate[] = [
  { title: "the machine's", programs: undefined, hasPinning: false, isThere: CAN_RUN },
  { title: NEWER, programs: newer, hasPinning: true, isThere: CAN_RUN && newer !== undefined },
];

for (const { title, programs, hasPinning, isThere } of CANDIDATES) {
  describe.skipIf(!isThere)(`containerd, ${title}`, () => {
    let folder: string;
    let program: ContainerdProgram;
    let kubelet: Kubelet;
    let site: AsyncDisposable | undefined;
    const store = createMemoryStore();
    const programOf: Record<string, Uint8Array> = {};

    beforeAll(async () => {
      await using undo = new AsyncDisposableStack();
      folder = await mkdtemp(join(tmpdir(), "drayage-runtime-"));
      undo.defer(() => rm(folder, { recursive: true, force: true }));
      programOf["pause"] = await compileStatic("#include <unistd.h>\nint main(){for(;;)pause();}");
      programOf["seven"] = await compileStatic("int main(){return 7;}");
      program = undo.use(
        await startContainerd({
          sandboxImage: PAUSE,
          ...(programs === undefined ? {} : { programs }),
        }),
      );
      kubelet = undo.use(createKubelet(program.socket));
      site = undo.move();
    });
    afterAll(() => site?.[Symbol.asyncDispose]());

    function open(more: Partial<ContainerdOptions> = {}): Containerd {
      const base = { socket: program.socket, content: store, clock: systemClock };
      return new Containerd({ ...base, ...more });
    }

    async function load(name: string, more: Partial<ContainerdOptions> = {}) {
      const root = (await store.lookup(name)) as Descriptor;
      const graph = await readImageGraph(store, root, PLATFORM, { signal });
      using containerd = open(more);
      return await containerd.load({ name, graph }, signal);
    }

    async function serve() {
      const registry = createRegistry({ store, access: openAccess, isWritable: false });
      return serveRegistry({ registry, clock: systemClock, hostname: "127.0.0.1", port: 0 });
    }

    /** CRI hears of labels and names by events. */
    async function until(holds: () => Promise<boolean>): Promise<void> {
      while (!(await holds())) await Bun.sleep(20);
    }

    const linesOf = async (...words: string[]) =>
      (await program.ctr("-n", "k8s.io", ...words)).split("\n").filter(Boolean);
    const namesInContainerd = () => linesOf("images", "ls", "-q");
    const leases = () => linesOf("leases", "ls", "-q");

    test("says what it is", async () => {
      using containerd = open();
      const facts = await containerd.facts(signal);
      expect(facts).toMatchObject({ snapshotter: "overlayfs", hasPinning });
      expect(facts.version).toMatch(/^\d+\.\d+\.\d+/);
    });

    test("an image is there under the names that kubelet asks for, and a second time costs nothing", async () => {
      const root = await buildImage(store, "docker.io/library/x:1", {
        seed: "x",
        platforms: ["linux/amd64", "linux/arm64"],
      });
      const both = `quay.io/a/b:1@${root.digest}`;
      await store.name(both, root);
      const leasesBefore = new Set(await leases());
      expect(await load("docker.io/library/x:1")).toBe("loaded");
      expect(await load(both)).toBe("loaded");
      for (const name of ["docker.io/library/x:1", `docker.io/library/x@${root.digest}`, both]) {
        expect((await kubelet.status(name))?.pinned).toBe(hasPinning);
      }
      expect(await kubelet.status("x:1")).toBeDefined();
      expect(await load("docker.io/library/x:1")).toBe("present");
      // Those of loads that were cut off, in other tests, are still there for a while.
      expect((await leases()).filter((lease) => !leasesBefore.has(lease))).toEqual([]);
      expect(await load(both)).toBe("present");
    });

    test("pulled from the site's own registry it is the same, and no name of that registry stays", async () => {
      const root = await buildImage(store, "quay.io/pulled/x:1", { seed: "pulled" });
      await using server = await serve();
      const requests: string[] = [];
      const content = {
        ...store,
        fetch: (descriptor: Descriptor, options: FetchOptions) => {
          requests.push(descriptor.digest);
          return store.fetch(descriptor, options);
        },
      };
      expect(await load("quay.io/pulled/x:1", { servedAt: server.address, content })).toBe(
        "loaded",
      );
      // The config alone was read here: containerd fetched the rest itself.
      expect(requests).toHaveLength(1);
      const only = `quay.io/pulled/x@${root.digest}`;
      await until(async () => {
        const digests = (await kubelet.status("quay.io/pulled/x:1"))?.repoDigests ?? [];
        return digests.length === 1 && digests[0] === only;
      });
      expect((await namesInContainerd()).filter((name) => name.startsWith("127."))).toEqual([]);
      expect(await load("quay.io/pulled/x:1")).toBe("present");
    });

    test("what can't be pulled is sent", async () => {
      await buildImage(store, "quay.io/sent/x:1", { seed: "sent" });
      expect(await load("quay.io/sent/x:1", { servedAt: "127.0.0.1:9" })).toBe("loaded");
      expect(await kubelet.status("quay.io/sent/x:1")).toBeDefined();
    });

    test("a pod runs from images that were only loaded, its sandbox too", async () => {
      await buildProgramImage(store, PAUSE, programOf["pause"] as Uint8Array);
      await buildProgramImage(store, SEVEN, programOf["seven"] as Uint8Array);
      // Another test may have brought them.
      for (const image of [PAUSE, SEVEN])
        expect(["loaded", "present"]).toContain(await load(image));
      expect(await kubelet.run(SEVEN, folder)).toBe(7);
      await using server = await serve();
      const name = "quay.io/team/pulled-seven:1";
      await buildProgramImage(store, name, programOf["seven"] as Uint8Array);
      expect(await load(name, { servedAt: server.address })).toBe("loaded");
      expect(await kubelet.run(name, folder)).toBe(7);
    });

    test("containerd's own collection takes nothing of it", async () => {
      const name = "quay.io/kept/x:1";
      await buildImage(store, name, { seed: "kept", layers: 3 });
      await load(name);
      await buildImage(store, "quay.io/kept/other:1", { seed: "other" });
      await load("quay.io/kept/other:1");
      // Removed at once, with a collection before it answers.
      const others = (await namesInContainerd()).filter((each) => each.includes("kept/other"));
      await program.ctr("-n", "k8s.io", "images", "rm", "--sync", ...others);
      const line = await program.ctr("-n", "k8s.io", "images", "check", `name==${name}`);
      expect(line).toContain("complete");
      expect(line).toMatch(/\btrue\b/);
    });

    test("a tag that moved stands for the new image", async () => {
      const name = "quay.io/moved/x:1";
      await buildImage(store, name, { seed: "before" });
      await load(name);
      const before = (await kubelet.status(name))?.id;
      await buildImage(store, name, { seed: "after" });
      expect(await load(name)).toBe("loaded");
      expect((await kubelet.status(name))?.id).not.toBe(before);
      expect(await load(name)).toBe("present");
    });

    test("a name that somebody made meanwhile is moved to what was verified", async () => {
      const name = "quay.io/raced/x:1";
      using early = open();
      const graphOf = async (seed: string) => {
        const root = await buildImage(store, name, { seed });
        return readImageGraph(store, root, PLATFORM, { signal });
      };
      const first = await graphOf("raced");
      // From here on it knows the names that there are.
      await early.retain(
        (await kubelet.images()).flatMap(({ repoTags }) => repoTags),
        signal,
      );
      expect(await load(name)).toBe("loaded");
      const second = await graphOf("raced later");
      expect(second.root.digest).not.toBe(first.root.digest);
      expect(await early.load({ name, graph: second }, signal)).toBe("loaded");
      const line = await program.ctr("-n", "k8s.io", "images", "ls", `name==${name}`);
      expect(line).toContain(second.root.digest);
    });

    test("an import that was cut goes on where it stopped", async () => {
      const name = "quay.io/cut/x:1";
      await buildImage(store, name, { seed: "cut", layers: 1, layerBytes: 4 * 1024 ** 2 });
      const starts: number[] = [];
      const cut = new AbortController();
      const cutting = {
        ...store,
        async fetch(descriptor: Descriptor, options: FetchOptions) {
          const stream = await store.fetch(descriptor, options);
          if (descriptor.size < 1024 ** 2) return stream;
          let seen = 0;
          return stream.pipeThrough(
            new TransformStream({
              transform(chunk, controller) {
                seen += chunk.byteLength;
                if (seen > 3 * 1024 ** 2) cut.abort(new Error("cut"));
                controller.enqueue(chunk);
              },
            }),
          );
        },
      };
      const root = (await store.lookup(name)) as Descriptor;
      const graph = await readImageGraph(store, root, PLATFORM, { signal });
      {
        using containerd = open({ content: cutting });
        await expect(containerd.load({ name, graph }, cut.signal)).rejects.toThrow("cut");
      }
      const counting = {
        ...store,
        fetch(descriptor: Descriptor, options: FetchOptions) {
          if (descriptor.size > 1024 ** 2) starts.push(options.range?.start ?? 0);
          return store.fetch(descriptor, options);
        },
      };
      expect(await load(name, { content: counting })).toBe("loaded");
      expect(starts).toHaveLength(1);
      expect(starts[0]).toBeGreaterThan(1024 ** 2);
    });

    test("a config that does not fit its layers is refused, and nothing is named", async () => {
      const name = "quay.io/broken/x:1";
      await buildProgramImage(store, name, programOf["pause"] as Uint8Array, {
        diffId: `sha256:${"0".repeat(64)}`,
      });
      // Loads that were cut off, in other tests, leave some for a while.
      const drafts = async () =>
        (await linesOf("snapshots", "ls")).filter((line) => line.includes("drayage-"));
      const draftsBefore = new Set(await drafts());
      await expect(load(name)).rejects.toMatchObject({ code: "layer-mismatch" });
      expect((await namesInContainerd()).filter((each) => each.includes("broken"))).toEqual([]);
      expect((await drafts()).filter((draft) => !draftsBefore.has(draft))).toEqual([]);
    });

    test("an import that is cut anywhere is made whole by the next one", async () => {
      let cuts = 0;
      for (const bytes of [60, 600, 1_200, 2_400, 4_800, 9_600, 14_000, 19_200, 30_000]) {
        const name = `quay.io/anywhere/x:${bytes}`;
        await buildImage(store, name, { seed: name, layerBytes: 8_000 });
        {
          await using link = await cuttingSocket(program.socket, join(folder, "cut.sock"), bytes);
          const outcome = await load(name, { socket: link.path }).catch((error: unknown) => error);
          if (outcome !== "loaded") {
            expect(outcome).toMatchObject({ code: expect.stringMatching(/^runtime-/) as unknown });
            cuts += 1;
          }
        }
        expect(["loaded", "present"]).toContain(await load(name));
        const line = await program.ctr("-n", "k8s.io", "images", "check", `name==${name}`);
        expect(line).toContain("complete");
        expect(line).toMatch(/\btrue\b/);
        expect(await kubelet.status(name)).toBeDefined();
      }
      expect(cuts).toBeGreaterThan(5);
    });

    test("an archive for k3s is imported under the name that kubelet asks for", async () => {
      const name = "docker.io/library/archived:1";
      const root = await buildProgramImage(store, name, programOf["seven"] as Uint8Array);
      const graph = await readImageGraph(store, root, PLATFORM, { signal });
      const images = new ImagesFolder({
        folder: join(folder, "images"),
        async writeArchive(image, path) {
          await exportArchive(store, image, path, { signal });
        },
      });
      expect(await images.load({ name, graph }, signal)).toBe("loaded");
      for (const file of await readdir(join(folder, "images"))) {
        await program.ctr("-n", "k8s.io", "images", "import", join(folder, "images", file));
      }
      await until(async () => (await kubelet.status("archived:1")) !== undefined);
      expect(await images.load({ name, graph }, signal)).toBe("present");
    });

    test("kubelet collects what no profile needs any more, and nothing else", async () => {
      await buildProgramImage(store, PAUSE, programOf["pause"] as Uint8Array);
      await buildProgramImage(store, SEVEN, programOf["seven"] as Uint8Array);
      for (const name of [PAUSE, SEVEN]) await load(name);
      const old = "quay.io/gen/old:1";
      const kept = "quay.io/gen/kept:1";
      const theirs = "quay.io/gen/their:1";
      for (const name of [old, kept, theirs]) {
        await buildImage(store, name, { seed: name });
        await load(name);
      }
      // Somebody else's pin, as theirs are: without our label.
      await program.ctr("-n", "k8s.io", "images", "label", theirs, "drayage.io/pinned=");
      using containerd = open();
      const released = await containerd.retain([PAUSE, kept, SEVEN], signal);
      expect(released).toContain(old);
      const labels = async (name: string) =>
        program.ctr("-n", "k8s.io", "images", "ls", `name==${name}`);
      expect(await labels(old)).not.toContain("pinned");
      for (const name of [kept, theirs]) {
        expect(await labels(name)).toContain("io.cri-containerd.pinned=pinned");
      }
      if (!hasPinning) return;
      await until(async () => (await kubelet.status(old))?.pinned === false);
      const left = await kubelet.collect();
      expect(left).toEqual(expect.arrayContaining([kept, theirs, SEVEN, PAUSE]));
      expect(left).not.toContain(old);
      expect(await kubelet.run(SEVEN, folder)).toBe(7);
      // A delivery of the old plan brings it back.
      expect(await load(old)).toBe("loaded");
      expect((await kubelet.status(old))?.pinned).toBe(true);
    });
  });
}
