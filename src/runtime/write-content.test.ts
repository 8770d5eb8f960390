import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import { SingleFlight } from "#base";
import { createMemoryStore, digestOf, writeContent as put } from "#content";
import { createManualClock } from "#test-support/clock";
import { API } from "./api.ts";
import { GrpcSocket } from "./grpc.ts";
import { writeContent } from "./write-content.ts";

/** `WriteContentResponse` with an offset of -5, or without one, as protobuf has them on the wire. */
const LESS_THAN_NOTHING = Buffer.from("20fbffffffffffffffff01", "hex");
const NOTHING = Buffer.alloc(0);

test("a containerd that says it has less than nothing of some content is sent all of it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "dray-write-"));
  const socket = join(folder, "c.sock");
  const heard: Buffer[] = [];
  const asIs = (bytes: Buffer) => bytes;
  const definition = {
    write: {
      ...{ path: `/${API.writeContent.path}`, requestStream: true, responseStream: true },
      ...{ requestSerialize: asIs, requestDeserialize: asIs },
      ...{ responseSerialize: asIs, responseDeserialize: asIs },
    },
  } satisfies ServiceDefinition;
  const server = new Server();
  server.addService(definition, {
    write(call: import("@grpc/grpc-js").ServerDuplexStream<Buffer, Buffer>) {
      call.on("data", (bytes: Buffer) => {
        heard.push(bytes);
        call.write(heard.length === 1 ? LESS_THAN_NOTHING : NOTHING);
        if (heard.length === 3) call.end();
      });
    },
  });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  try {
    using api = new GrpcSocket(socket);
    const bytes = new TextEncoder().encode("all of the content");
    const descriptor = { mediaType: "a/b", digest: digestOf(bytes), size: bytes.byteLength };
    const content = createMemoryStore();
    await put(content, descriptor, bytes);
    await writeContent(
      descriptor,
      {},
      {
        ...{ api, content, lease: "lease", snapshotter: "overlayfs", clock: createManualClock() },
        ...{ signal: AbortSignal.timeout(10_000), flights: new SingleFlight<void>() },
      },
    );
    expect(heard).toHaveLength(3);
    expect(heard[1]?.includes("all of the content")).toBe(true);
  } finally {
    server.forceShutdown();
    rmSync(folder, { recursive: true, force: true });
  }
});
