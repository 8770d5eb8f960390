import { constants, existsSync } from "node:fs";
import { access, readFile, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { formatBytes, systemErrorCode } from "#base";
import { ANONYMOUS } from "#credential";
import type { Remote } from "#remote";
import { dialled } from "#site";
import { type Check, fine, odd, type Sign, wrong } from "./sign.ts";

type Found = Omit<Sign, "check">;

/** Less than this is no room for images at all. */
const FREE_BYTES_MIN = 1024 ** 3;

const FREE_INODES_MIN = 10_000;

/** What `statfs` says of file systems that do not keep what was fsynced (Linux, `linux/magic.h`). */
const FORGETFUL: Readonly<Record<number, string>> = {
  16914836: "tmpfs, which is gone at the next boot",
  2035054128: "overlay, the layer of a container, which goes with it",
  2240043254: "ramfs, which is gone at the next boot",
};

/** Whether there is room for the store, and whether this user may write there. */
export function diskCheck(dataDir: string): Check {
  return {
    name: "disk",
    async look() {
      const folder = nearestFolder(dataDir);
      const { bavail, bsize, files, ffree, type } = await statfs(folder);
      const free = bavail * bsize;
      const signs: Found[] = [];
      if (free < FREE_BYTES_MIN) {
        signs.push(
          odd(
            `${formatBytes(free)} free at ${folder}`,
            "Make room, or name another folder with --data-dir; `dray gc` removes what nothing needs",
          ),
        );
      } else signs.push(fine(`${formatBytes(free)} free at ${folder}`));
      // Some file systems have no fixed number and say 0.
      if (files > 0 && ffree < FREE_INODES_MIN) {
        signs.push(
          odd(
            `${ffree} free inodes at ${folder}`,
            "Remove small files, or make the file system anew",
          ),
        );
      }
      const kind = FORGETFUL[Number(type)];
      if (kind !== undefined) {
        signs.push(
          odd(
            `${folder} is on ${kind}: what was fsynced does not survive it`,
            "Put the data folder on a disk, with dataDir of the site file or --data-dir",
          ),
        );
      }
      try {
        await access(folder, constants.W_OK);
      } catch {
        signs.push(
          wrong(
            `this user may not write to ${folder}`,
            "Run dray as the user that the folder belongs to, or mount it writable",
          ),
        );
      }
      return signs;
    },
  };
}

/** The folder itself, or the nearest above it that is there. */
function nearestFolder(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestFolder(dirname(path));
}

/** Whether the embedded registry can listen, or does. */
export function portCheck(listen: string, remote: Pick<Remote, "api">): Check {
  return {
    name: "port",
    async look(signal) {
      const code = await tryListen(listen);
      if (code === undefined) return [fine(`${listen} is free for the embedded registry`)];
      if (code !== "EADDRINUSE") return [unlistenable(listen, code)];
      const task = "ask who listens there";
      const request = { method: "GET", path: "/v2/", task, signal } as const;
      try {
        // Insecure, for only who it is matters: nothing is sent but the question.
        const asked = remote.api(dialled(listen), { ...ANONYMOUS, insecure: true });
        const { status } = await asked.request(request);
        if (status === 200 || status === 401) return [fine(`a registry answers at ${listen}`)];
      } catch {
        signal.throwIfAborted();
      }
      return [
        wrong(
          `another program than a registry listens at ${listen}, where the embedded registry is to`,
          "Find it with `ss -ltnp`, or set registry.listen of the site file to another port",
        ),
      ];
    },
  };
}

function unlistenable(listen: string, code: string): Found {
  return wrong(
    `nobody can listen at ${listen}: the system says ${code}`,
    code === "EADDRNOTAVAIL"
      ? "Set registry.listen of the site file to an address that this machine has"
      : "Set registry.listen of the site file to another port, or run dray as root",
  );
}

/** Listens for a moment, which is the only way to know; gives the system's word when that fails. */
function tryListen(listen: string): Promise<string | undefined> {
  const [, host = "", port = "0"] = /^\[?(.*?)\]?:(\d+)$/.exec(listen) ?? [];
  const server = createServer();
  return new Promise((done) => {
    server.once("error", (error) => done(systemErrorCode(error) ?? "an unknown error"));
    server.listen({ port: Number(port), host: host === "" ? "::" : host }, () => {
      server.close(() => done(undefined));
    });
  });
}

interface Limit {
  readonly what: string;
  readonly least: number;
  readonly remedy: string;
  /** Undefined where the system does not say. */
  read(): Promise<number | undefined>;
}

const LIMITS: readonly Limit[] = [
  {
    what: "open files of a process",
    least: 4096,
    remedy: "Raise it: LimitNOFILE=65536 in the systemd unit, or `ulimit -n 65536`",
    async read() {
      const limits = await textOf("/proc/self/limits");
      return numberOf(/^Max open files\s+(\S+)/m.exec(limits)?.[1]);
    },
  },
  {
    what: "inotify instances of a user",
    least: 128,
    remedy: "Raise it: `sysctl -w fs.inotify.max_user_instances=1024`, and in /etc/sysctl.d",
    read: async () => numberOf(await textOf("/proc/sys/fs/inotify/max_user_instances")),
  },
  {
    what: "inotify watches of a user",
    least: 8192,
    remedy: "Raise it: `sysctl -w fs.inotify.max_user_watches=524288`, and in /etc/sysctl.d",
    read: async () => numberOf(await textOf("/proc/sys/fs/inotify/max_user_watches")),
  },
];

/** Whether the kernel lets the site's programs have what they need. */
export const limitsCheck: Check = {
  name: "limits",
  async look() {
    const found = await Promise.all(
      LIMITS.map(async ({ what, least, remedy, read }) => {
        const limit = await read();
        if (limit === undefined) return [];
        if (limit >= least) return [];
        return [odd(`${limit} ${what}, and at least ${least} are wanted`, remedy)];
      }),
    );
    const low = found.flat();
    return low.length > 0 ? low : [fine("open files and inotify suffice")];
  },
};

async function textOf(path: string): Promise<string> {
  return readFile(path, "utf8").catch(() => "");
}

function numberOf(text: string | undefined): number | undefined {
  if (text?.trim() === "unlimited") return Number.POSITIVE_INFINITY;
  return /^\d+\s*$/.test(text ?? "") ? Number(text) : undefined;
}
