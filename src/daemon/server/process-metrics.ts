import { readdirSync, readFileSync } from "node:fs";
import type { Metric } from "./exposition.ts";

/**
 * The process as Prometheus' own clients tell of it, with their names, so that dashboards made for any
 * program fit this one. What the system does not tell is left out.
 *
 * @param nowMs milliseconds since 1970
 */
export function processMetrics(nowMs: number): readonly Metric[] {
  const { user, system } = process.cpuUsage();
  const status = textOf("/proc/self/status");
  const limits = textOf("/proc/self/limits");
  return [
    counter("process_cpu_seconds", "User and system CPU time spent.", (user + system) / 1e6),
    gauge("process_resident_memory_bytes", "Resident memory.", kilobytes(status, "VmRSS")),
    gauge("process_virtual_memory_bytes", "Virtual memory.", kilobytes(status, "VmSize")),
    gauge("process_open_fds", "Open file descriptors.", openFiles()),
    gauge("process_max_fds", "Most file descriptors that may be open.", maxFiles(limits)),
    gauge(
      "process_start_time_seconds",
      "Start of the process, in seconds since 1970.",
      Math.round(nowMs / 1000 - process.uptime()),
    ),
  ];
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function kilobytes(status: string, key: string): number | undefined {
  const [, amount] = new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(status) ?? [];
  return amount === undefined ? undefined : Number(amount) * 1024;
}

function openFiles(): number | undefined {
  try {
    // One of them is the folder that is being read.
    return readdirSync("/proc/self/fd").length - 1;
  } catch {
    return undefined;
  }
}

function maxFiles(limits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\d+|unlimited)/m.exec(limits) ?? [];
  if (soft === undefined) return undefined;
  return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft);
}

function gauge(name: string, help: string, value: number | undefined): Metric {
  return { name, type: "gauge", help, samples: value === undefined ? [] : [{ labels: {}, value }] };
}

function counter(name: string, help: string, value: number): Metric {
  return { name, type: "counter", help, samples: [{ labels: {}, value }] };
}
