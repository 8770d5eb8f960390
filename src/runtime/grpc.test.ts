import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Server as GrpcServer,
  type handleUnaryCall,
  ServerCredentials,
  type ServiceDefinition,
  status,
} from "@grpc/grpc-js";
import { Failure } from "#base";
import { API } from "./api.ts";
import { GrpcSocket } from "./grpc.ts";
import { hasGrpcCode } from "./grpc-failure.ts";
import { GRPC } from "./grpc-wire.ts";

const { signal } = new AbortController();

let folder: string;
let socket: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-grpc-"));
  socket = join(folder, "c.sock");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function failureOf(act: () => Promise<unknown>): Promise<Failure> {
  try {
    await act();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

/** What is told of a call to whatever lies there. */
async function told(deadlineMs = 5_000): Promise<Failure> {
  using api = new GrpcSocket(socket);
  return await failureOf(() => api.call(API.version, {}, { signal, deadlineMs }));
}

/** A server of unary calls: messages are bytes to it. */
async function serve(
  path: string,
  answer: handleUnaryCall<Buffer, Buffer>,
): Promise<AsyncDisposable> {
  const server = new GrpcServer();
  const asIs = (bytes: Buffer) => bytes;
  const definition = {
    method: {
      ...{ path: `/${path}`, requestStream: false, responseStream: false },
      ...{ requestSerialize: asIs, requestDeserialize: asIs },
      ...{ responseSerialize: asIs, responseDeserialize: asIs },
    },
  } satisfies ServiceDefinition;
  server.addService(definition, { method: answer });
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    ),
  );
  return { [Symbol.asyncDispose]: async () => server.forceShutdown() };
}

async function listen(onSocket: (socket: Socket) => void): Promise<Server> {
  const server = createServer(onSocket);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return server;
}

test("no socket is told as such, and where others keep theirs", async () => {
  const failure = await told();
  expect(failure.code).toBe("runtime-unreachable");
  expect(failure.message).toContain(socket);
  expect(failure.message).toContain("no such file");
  expect(failure.hint).toContain("/run/k3s/containerd/containerd.sock");
});

test("a file that is no socket is told as such", async () => {
  writeFileSync(socket, "");
  expect(await told()).toMatchObject({ code: "runtime-unreachable", transient: false });
});

test.skipIf(process.getuid?.() === 0)("a socket that this user may not use", async () => {
  const server = await listen(() => {});
  chmodSync(socket, 0);
  expect((await told()).hint).toContain("root");
  server.close();
});

test("a socket that nobody listens at", async () => {
  // A process of its own, for a server that closes in order takes its socket along.
  const script = `require("node:net").createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, 9))`;
  await Bun.spawn([process.execPath, "-e", script]).exited;
  expect(await told()).toMatchObject({ code: "runtime-unreachable" });
});

test("a server that speaks another protocol", async () => {
  const server = await listen((peer) => {
    peer.on("data", () => peer.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
    peer.on("error", () => {});
  });
  const failure = await told(2_000);
  server.close();
  expect(["runtime-unreachable", "runtime-failed"]).toContain(failure.code);
});

test("a method that it does not know means that it is too old", async () => {
  await using _ = await serve("some.other.Service/Method", () => {});
  expect(await told()).toMatchObject({ code: "runtime-old" });
});

test("what it answers is escaped, and its code can be asked for", async () => {
  await using _ = await serve(API.version.path, (_call, done) =>
    done({ code: status.NOT_FOUND, details: "no \u001b[31m such" }),
  );
  const failure = await told();
  expect(failure.message).toContain("NOT_FOUND: no \\u001b[31m such");
  expect(hasGrpcCode(failure, GRPC.NOT_FOUND)).toBe(true);
  expect(hasGrpcCode(failure, GRPC.ALREADY_EXISTS)).toBe(false);
});

test("an answer that never comes ends with the deadline, or with the caller's signal", async () => {
  await using _ = await serve(API.version.path, () => {});
  expect(await told(100)).toMatchObject({ code: "runtime-failed", transient: true });
  using api = new GrpcSocket(socket);
  const caller = new AbortController();
  const call = api.call(API.version, {}, { signal: caller.signal });
  caller.abort(new Error("enough"));
  await expect(call).rejects.toThrow("enough");
});

test("a server that does not even answer what takes no time is told as silent", async () => {
  await using _ = await serve(API.version.path, () => {});
  using api = new GrpcSocket(socket, 100);
  const failure = await failureOf(() => api.call(API.version, {}, { signal }));
  expect(failure).toMatchObject({ code: "runtime-silent", transient: true });
});

test("fields that we do not know are passed by", async () => {
  // version = "2", and a field 15 of another version.
  await using _ = await serve(API.version.path, (_call, done) =>
    done(null, Buffer.from([0x0a, 1, 0x32, 0x7a, 2, 1, 2])),
  );
  using api = new GrpcSocket(socket);
  expect(await api.call(API.version, {}, { signal })).toMatchObject({ version: "2" });
});
