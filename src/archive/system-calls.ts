import { dlopen, read } from "bun:ffi";
import { arch } from "node:os";
import { Failure } from "#base";
import { encodeName } from "./entry-name.ts";
import type { TarTime } from "./tar-header.ts";

/** What a root file system needs of the kernel that the runtime's own functions do not offer. */
export interface SystemCalls {
  /** Makes a device or a FIFO; `mode` holds its kind. */
  makeNode(path: string, mode: number, device: { major: number; minor: number }): void;
  /** Sets an extended attribute of what has this name, a link too. */
  setAttribute(path: string, name: string, value: Uint8Array): void;
  /** Sets both times of what has this name, a link too, to the nanosecond. */
  setTimes(path: string, time: TarTime): void;
  /** Returns once everything of the file system that this file lies in would survive a power cut. */
  syncFileSystem(fd: number): void;
}

/** Where the C library lies: glibc's name, then musl's. */
const LIBRARIES = [
  "libc.so.6",
  `libc.musl-${arch() === "arm64" ? "aarch64" : "x86_64"}.so.1`,
  "libc.so",
];

const SYMBOLS = {
  mknod: { args: ["ptr", "u32", "u64"], returns: "i32" },
  lsetxattr: { args: ["ptr", "ptr", "ptr", "u64", "i32"], returns: "i32" },
  utimensat: { args: ["i32", "ptr", "ptr", "i32"], returns: "i32" },
  syncfs: { args: ["i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

/** Names of the errors that decide what happens next; others are told by their number. */
const ERRNO: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  13: "EACCES",
  17: "EEXIST",
  22: "EINVAL",
  28: "ENOSPC",
  30: "EROFS",
  34: "ERANGE",
  95: "ENOTSUP",
  122: "EDQUOT",
};

let loaded: SystemCalls | undefined;

/**
 * The C library of this machine, glibc's or musl's, loaded once.
 *
 * @throws {Failure} `system-unsupported` where there is neither
 */
export function systemCalls(): SystemCalls {
  loaded ??= loadCalls();
  return loaded;
}

function loadCalls(): SystemCalls {
  const { symbols } = openLibrary();
  const check = (result: number, call: string, path: string) => {
    if (result !== 0) throw systemError(errno(symbols.__errno_location()), call, path);
  };
  return {
    makeNode(path, mode, { major, minor }) {
      check(symbols.mknod(cString(path), mode, deviceNumber(major, minor)), "mknod", path);
    },
    setAttribute(path, name, value) {
      // An empty array has no address.
      const bytes = value.byteLength === 0 ? new Uint8Array(1) : value;
      const size = BigInt(value.byteLength);
      check(symbols.lsetxattr(cString(path), cString(name), bytes, size, 0), "lsetxattr", path);
    },
    setTimes(path, { seconds, nanoseconds }) {
      const moment = [BigInt(seconds), BigInt(nanoseconds)];
      const times = new BigInt64Array([...moment, ...moment]);
      const result = symbols.utimensat(AT_FDCWD, cString(path), times, AT_SYMLINK_NOFOLLOW);
      check(result, "utimensat", path);
    },
    syncFileSystem(fd) {
      check(symbols.syncfs(fd), "syncfs", "");
    },
  };
}

function openLibrary() {
  const causes: unknown[] = [];
  for (const name of LIBRARIES) {
    try {
      return dlopen(name, SYMBOLS);
    } catch (cause) {
      causes.push(cause);
    }
  }
  throw new Failure({
    code: "system-unsupported",
    message: `Cannot unpack a root file system on this machine: none of ${LIBRARIES.join(", ")} can be loaded, expected the C library of a Linux system`,
    hint: "Run `dray unpack` on a Linux machine with glibc or musl",
    cause: causes,
  });
}

/** How Linux packs the two numbers of a device (glibc's `makedev`). */
function deviceNumber(major: number, minor: number): bigint {
  const [a, i] = [BigInt(major), BigInt(minor)];
  return ((a & 0xfffn) << 8n) | (i & 0xffn) | ((i & ~0xffn) << 12n) | ((a & ~0xfffn) << 32n);
}

function cString(text: string): Buffer {
  const encoded = encodeName(text);
  return typeof encoded === "string"
    ? Buffer.from(`${encoded}\0`)
    : Buffer.concat([encoded, Buffer.alloc(1)]);
}

function errno(
  location: ReturnType<ReturnType<typeof openLibrary>["symbols"]["__errno_location"]>,
) {
  return location === null ? 0 : read.i32(location, 0);
}

function systemError(number: number, call: string, path: string): Error {
  const code = ERRNO[number] ?? `errno ${number}`;
  return Object.assign(new Error(`${code}: ${call}`), { code, syscall: call, path });
}
