import { readFileSync } from "node:fs";

/** What lies in the kernel of one connection, at both of its ends, by the client's port. */
export interface KernelQueue {
  /** Sent, and not yet arrived at the client's end. */
  readonly toArriveBytes: number;
  /** Arrived, and not yet read by the client. */
  readonly toReadBytes: number;
}

/** The queues of all connections of this machine that have something in them (Linux, IPv4). */
export function readKernelQueues(): ReadonlyMap<number, KernelQueue> {
  const found = new Map<number, KernelQueue>();
  const lines = readFileSync("/proc/net/tcp", "utf8").trim().split("\n").slice(1);
  for (const line of lines) {
    const [, local = "", remote = "", , queues = ""] = line.trim().split(/\s+/);
    const [toArriveBytes = 0, toReadBytes = 0] = queues.split(":").map(fromHex);
    // The server's end has the client's port as the remote one, the client's end as its own.
    const ofServer = found.get(portOf(remote));
    const ofClient = found.get(portOf(local));
    const nothing = { toArriveBytes: 0, toReadBytes: 0 };
    if (toArriveBytes > 0) found.set(portOf(remote), { ...nothing, ...ofServer, toArriveBytes });
    if (toReadBytes > 0) found.set(portOf(local), { ...nothing, ...ofClient, toReadBytes });
  }
  return found;
}

function portOf(address: string): number {
  return fromHex(address.split(":")[1] ?? "0");
}

function fromHex(text: string): number {
  return Number.parseInt(text, 16);
}
