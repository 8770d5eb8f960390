import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { Failure, formatBytes, isFailure, quoted, systemErrorCode } from "#base";
import { encodeName } from "./entry-name.ts";
import {
  type Change,
  type Inode,
  isFolder,
  pathOf,
  type RootTree,
  type TreeNode,
  walkTree,
} from "./root-tree.ts";
import { type SystemCalls, systemCalls } from "./system-calls.ts";
import type { TarEntry } from "./tar.ts";

/** What an unprivileged user, or a file system, could not be given. */
export interface LeftOut {
  readonly kind: "owners" | "devices" | "attributes";
  /** How many files it concerns. */
  readonly files: number;
  /** One of them, from the root. */
  readonly example: string;
}

/** How a root is written. */
export interface RootWriterOptions {
  /** Where: an empty folder that nobody else writes to. */
  readonly folder: string;
  /** Without owners, devices and the attributes that only root may set. */
  readonly isRootless: boolean;
  /** Bytes that the files may have together. */
  readonly bytesMax: number;
}

type Description = NonNullable<Inode["entry"]>;

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/** The kinds of `mknod(2)`. */
const NODE_KINDS = { fifo: 0o010000, "character-device": 0o020000, "block-device": 0o060000 };

/**
 * Attributes that belong to the machine and not to the image: labels of its security policy and of its
 * network file system (umoci leaves these two as well), and what overlayfs would obey.
 */
const MACHINES_OWN = /^(security\.selinux|system\.nfs4_acl|(trusted|user)\.overlay\..*)$/;

/**
 * Carries out on a disk what a {@link RootTree} decides. Paths come from the tree alone, so each name
 * on the way is a folder that this writer made: no link is ever followed.
 *
 * Folders get their owners, modes and times last, in {@link finish}: until then what is in them changes.
 */
export class RootWriter {
  readonly #calls: SystemCalls = systemCalls();
  readonly #options: RootWriterOptions;
  readonly #leftOut = new Map<LeftOut["kind"], { files: number; example: string }>();
  readonly #uid = process.geteuid?.() ?? 0;
  /** The folder of the last path: entries of one folder mostly follow each other. */
  #last: { node: TreeNode | undefined; path: string } = { node: undefined, path: "" };
  /** Bytes of files written, also of those that an upper layer replaced. */
  bytes = 0;

  constructor(options: RootWriterOptions) {
    this.#options = options;
  }

  get leftOut(): readonly LeftOut[] {
    return [...this.#leftOut].map(([kind, found]) => ({ kind, ...found }));
  }

  /** @throws {Failure} `unpack-failed`, `unpack-full`, `unpack-unprivileged` */
  async apply(change: Change, entry: TarEntry): Promise<void> {
    for (const node of change.removed) this.#remove(node);
    for (const node of change.implied) this.#makeFolder(node);
    const { made, linkOf, isKept } = change;
    if (made === undefined || isKept) return;
    if (linkOf !== undefined) {
      if (this.#isAbsent(linkOf)) this.#leave("devices", made);
      else this.#attempt(made, "link", () => linkSync(this.#at(linkOf), this.#at(made)));
    } else if (isFolder(made)) {
      this.#makeFolder(made);
    } else {
      await this.#make(made, entry);
    }
  }

  /** Gives folders what describes them, the deepest first: one that may not be entered shuts out. */
  finish(tree: RootTree): void {
    const folders = [...walkTree(tree.root)].filter(isFolder);
    for (const node of folders.reverse()) {
      const { entry } = node.inode;
      this.#attempt(node, "describe", () => {
        if (entry !== undefined) this.#describe(node, entry);
        else chmodSync(this.#at(node), 0o755);
      });
    }
  }

  async #make(node: TreeNode, entry: TarEntry): Promise<void> {
    switch (node.inode.kind) {
      case "file":
        return this.#writeFile(node, entry);
      case "symlink":
        return this.#attempt(node, "link", () => {
          symlinkSync(encodeName(entry.linkPath), this.#at(node));
          this.#describe(node, entry);
        });
      case "fifo":
      case "character-device":
      case "block-device":
        return this.#makeNode(node, entry, NODE_KINDS[node.inode.kind]);
      case "folder":
        return this.#makeFolder(node);
    }
  }

  async #writeFile(node: TreeNode, entry: TarEntry): Promise<void> {
    // All at once: what has no room, or is nothing but holes, is known before it fills the disk.
    this.#spend(entry.size);
    const fd = this.#attempt(node, "create", () => openSync(this.#at(node), CREATE, 0o600));
    try {
      for await (const chunk of entry.body) {
        this.#attempt(node, "write", () => writeAll(fd, chunk));
      }
      this.#attempt(node, "describe", () => {
        if (this.#mayChown(node, entry)) fchownSync(fd, entry.uid, entry.gid);
        // After the owner: a change of owner takes the set-user-ID bit and capabilities away.
        fchmodSync(fd, entry.mode);
      });
    } finally {
      closeSync(fd);
    }
    this.#attempt(node, "describe", () => this.#describeRest(node, entry));
  }

  #makeFolder(node: TreeNode): void {
    this.#attempt(node, "create", () => mkdirSync(this.#at(node), 0o700));
  }

  #makeNode(node: TreeNode, entry: TarEntry, kind: number): void {
    if (this.#isAbsent(node)) {
      this.#leave("devices", node);
      return;
    }
    this.#attempt(node, "make device", () => {
      const device = { major: entry.devMajor, minor: entry.devMinor };
      this.#calls.makeNode(this.#path(node), kind | 0o600, device);
      this.#describe(node, entry);
    });
  }

  #describe(node: TreeNode, entry: Description): void {
    const path = this.#at(node);
    if (this.#mayChown(node, entry)) lchownSync(path, entry.uid, entry.gid);
    if (node.inode.kind !== "symlink") chmodSync(path, entry.mode);
    this.#describeRest(node, entry);
  }

  #describeRest(node: TreeNode, entry: Description): void {
    const path = this.#path(node);
    for (const [name, value] of entry.attributes) this.#setAttribute(node, name, value);
    this.#calls.setTimes(path, entry.mtime);
  }

  #setAttribute(node: TreeNode, name: string, value: Uint8Array): void {
    const { isRootless } = this.#options;
    if (MACHINES_OWN.test(name) || (isRootless && !name.startsWith("user."))) {
      this.#leave("attributes", node);
      return;
    }
    try {
      this.#calls.setAttribute(this.#path(node), name, value);
    } catch (error) {
      const code = systemErrorCode(error) ?? "";
      if (!isRootless || !["EPERM", "EACCES", "ENOTSUP"].includes(code)) throw error;
      this.#leave("attributes", node);
    }
  }

  #mayChown(node: TreeNode, { uid, gid }: Description): boolean {
    if (!this.#options.isRootless) return true;
    if (uid !== this.#uid || gid !== process.getegid?.()) this.#leave("owners", node);
    return false;
  }

  #leave(kind: LeftOut["kind"], node: TreeNode): void {
    const known = this.#leftOut.get(kind);
    if (known === undefined) this.#leftOut.set(kind, { files: 1, example: pathOf(node) });
    else known.files += 1;
  }

  #remove(node: TreeNode): void {
    const all = [...walkTree(node)].reverse();
    for (const gone of all) {
      if (this.#isAbsent(gone)) continue;
      this.#attempt(gone, "remove", () => {
        if (isFolder(gone)) rmdirSync(this.#at(gone));
        else unlinkSync(this.#at(gone));
      });
    }
    this.#last = { node: undefined, path: "" };
  }

  /** Devices are root's to make. */
  #isAbsent({ inode }: TreeNode): boolean {
    return this.#options.isRootless && inode.kind.endsWith("device");
  }

  #spend(bytes: number): void {
    this.bytes += bytes;
    if (this.bytes <= this.#options.bytesMax) return;
    throw new Failure({
      code: "unpack-full",
      message: `Cannot unpack to ${quoted(this.#options.folder)}: the files come to more than ${formatBytes(this.#options.bytesMax)}, which is all there is room for`,
      hint: "Make room on the disk or name a folder on another one; if the limit was set with `--max-size`, set it higher",
    });
  }

  #path(node: TreeNode): string {
    if (node.parent === undefined) return this.#options.folder;
    if (this.#last.node !== node.parent) {
      this.#last = { node: node.parent, path: `${this.#options.folder}/${pathOf(node.parent)}` };
    }
    return `${this.#last.path}/${node.name}`;
  }

  #at(node: TreeNode): string | Buffer {
    return encodeName(this.#path(node));
  }

  #attempt<T>(node: TreeNode, verb: string, act: () => T): T {
    try {
      return act();
    } catch (error) {
      throw this.#failure(error, node, verb);
    }
  }

  #failure(error: unknown, node: TreeNode, verb: string): unknown {
    const code = systemErrorCode(error);
    if (isFailure(error) || code === undefined) return error;
    const what = `Cannot ${verb} ${quoted(pathOf(node) || "/")} of the image`;
    if (code === "EPERM" || code === "EACCES" || code === "ENOTSUP") {
      return new Failure({
        code: "unpack-unprivileged",
        message: `${what}: the system answered ${code}, expected the right to set owners, devices and attributes, and a file system that keeps them`,
        hint: "Run it as root and on a file system of Linux, or with `--rootless`, which goes without and says what it left out",
        cause: error,
      });
    }
    if (code === "ENOSPC" || code === "EDQUOT") {
      return new Failure({
        code: "unpack-full",
        message: `${what}: the disk is full (${code}), expected room for the whole image`,
        hint: "Make room on the disk or name a folder on another one",
        cause: error,
      });
    }
    return new Failure({
      code: "unpack-failed",
      message: `${what}: the system answered ${code}, expected it to work`,
      hint: "Look at the disk with `dmesg`, or name a folder on another one",
      cause: error,
    });
  }
}

/** A disk that is nearly full takes a part and refuses only the next write. */
function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.byteLength; ) {
    done += writeSync(fd, bytes, done, bytes.byteLength - done);
  }
}
