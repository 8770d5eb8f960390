import { describe, expect, test } from "bun:test";
import { connect, Socket } from "node:net";
import { systemErrorCode } from "#base";
import { startListener } from "#test-support/listener";
import { signal } from "#test-support/remote-world";
import { firstConnected, openSocket } from "./open-socket.ts";

/** Begins a socket for each call, the first as told and the others by connecting. */
function counted(first: () => Socket, others: () => Socket) {
  const sockets: Socket[] = [];
  const create = () => {
    const socket = sockets.length === 0 ? first() : others();
    sockets.push(socket);
    return socket;
  };
  return { sockets, create };
}

/** A socket whose first packet was lost: nothing is ever heard of it. */
const silent = () => new Socket();

/** A socket that fails, and what is done then. */
function refusedSocket(onFailure: () => void): Socket {
  return connect({ host: "127.0.0.1", port: 1 }).once("close", onFailure);
}

const LONG_MS = 60_000;

test.each(["http", "https"])(
  "a way that is not there is not called refused: %s",
  async (scheme) => {
    // No connection leads to a multicast address, on whatever network this machine is.
    const failing = openSocket(new URL(`${scheme}://224.0.0.1:5000`), {}, signal);
    expect(systemErrorCode(await failing.catch((error: unknown) => error))).toBe("ENETUNREACH");
  },
);

describe("firstConnected()", () => {
  test("takes the one attempt that connects in time", async () => {
    await using listener = await startListener();
    const { sockets, create } = counted(listener.connect, listener.connect);
    const socket = await firstConnected(create, signal, LONG_MS);
    expect(sockets).toEqual([socket]);
    socket.destroy();
  });

  test("does not wait for a first packet that was lost, and leaves no second socket", async () => {
    await using listener = await startListener();
    const { sockets, create } = counted(silent, listener.connect);
    const socket = await firstConnected(create, signal, 1);
    expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true, false]);
    expect(sockets[1]).toBe(socket);
    socket.destroy();
  });

  test("makes no second attempt after a refusal", async () => {
    let port = 0;
    {
      await using listener = await startListener();
      port = listener.port;
    }
    const refused = () => connect({ host: "127.0.0.1", port });
    const { sockets, create } = counted(refused, refused);
    const failing = firstConnected(create, signal, LONG_MS);
    expect(systemErrorCode(await failing.catch((error: unknown) => error))).toBe("ECONNREFUSED");
    expect(sockets.map(({ destroyed }) => destroyed)).toEqual([true]);
  });

  test("goes on with the first when the second fails", async () => {
    const first = silent();
    const { create } = counted(
      () => first,
      () => refusedSocket(() => first.emit("connect")),
    );
    expect(await firstConnected(create, signal, 1)).toBe(first);
    first.destroy();
  });

  test("tells the error of the first when both fail", async () => {
    const first = silent();
    const lost = Object.assign(new Error("lost"), { code: "ETIMEDOUT" });
    const { create } = counted(
      () => first,
      () => refusedSocket(() => first.destroy(lost)),
    );
    const failing = firstConnected(create, signal, 1).catch((error: unknown) => error);
    expect(await failing).toBe(lost);
  });

  test.each([LONG_MS, 1])("is given up with the reason of the signal: %d ms", async (ms) => {
    const caller = new AbortController();
    const { sockets, create } = counted(silent, () => {
      queueMicrotask(() => caller.abort(new Error("given up")));
      return silent();
    });
    const failing = firstConnected(create, caller.signal, ms);
    if (ms === LONG_MS) caller.abort(new Error("given up"));
    await expect(failing).rejects.toThrow("given up");
    expect(sockets.every(({ destroyed }) => destroyed)).toBe(true);
  });

  test("fails with what creating the socket throws", async () => {
    const create = () => {
      throw new Error("no such certificate");
    };
    await expect(firstConnected(create, signal, LONG_MS)).rejects.toThrow("no such certificate");
  });
});
