import { quoted } from "#base";
import { nameBytes } from "./entry-name.ts";
import { archiveTooLarge, layerInvalid } from "./failure.ts";
import { refuseOther, type TarEntry } from "./tar.ts";

/** What one or several names of a root file system stand for. */
export interface Inode {
  readonly kind: Exclude<TarEntry["type"], "hardlink" | "other">;
  /** The entry that made it; undefined for a folder that only its children tell of. */
  entry: Omit<TarEntry, "body"> | undefined;
  /** Position of the layer that the entry lies in, from 0 at the bottom. */
  layer: number;
  /** Of a folder. */
  readonly children: Map<string, TreeNode> | undefined;
}

/** A name in a folder. */
export interface TreeNode {
  readonly name: string;
  readonly parent: TreeNode | undefined;
  /** Names from the root to here. */
  readonly depth: number;
  readonly inode: Inode;
  /** The last layer that said anything of it, or of something below it. */
  touched: number;
}

/**
 * What an entry of a layer changes. Every path is made of names of real folders, from the root down:
 * whoever carries the change out never follows a link.
 */
export interface Change {
  /** Nodes that are gone, each with all below it. */
  readonly removed: readonly TreeNode[];
  /** Folders that were not there and that nothing describes, parents first. */
  readonly implied: readonly TreeNode[];
  /** What the entry made, or described anew; undefined when it only removed. */
  readonly made: TreeNode | undefined;
  /** Whether `made` was there as a folder, and stays one. */
  readonly isKept: boolean;
  /** The other name of the same file, for a hard link. */
  readonly linkOf: TreeNode | undefined;
}

/** Names that a root file system may have. The largest provider images have some 300,000. */
export const NODES_MAX: number = 2_000_000;

/**
 * Folders within each other. What packs of JavaScript nest is some 50 deep; the time that a deep path
 * takes to make and to remove grows with its square (2,000 folders: 40 seconds).
 */
const DEPTH_MAX = 512;

/** How many symbolic links are followed for one path; Linux has the same limit. */
const LINKS_MAX = 40;

/** No longer name can be given to Linux (NAME_MAX). */
const NAME_BYTES_MAX = 255;

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
const AUFS = ".wh..wh.";

const NOTHING: Change = {
  removed: [],
  implied: [],
  made: undefined,
  isKept: false,
  linkOf: undefined,
};

/**
 * The root file system that layers come to, as names in memory: layers are applied to it entry by
 * entry, from the bottom one up (OCI image spec, "Image Layer Filesystem Changeset").
 *
 * It decides everything that is dangerous about layers: where a path through symbolic links leads
 * (never out of the root), what a whiteout removes, what a hard link is a name of. It touches no disk.
 */
export class RootTree {
  readonly root: TreeNode;
  #nodes = 1;
  readonly #nodesMax: number;

  constructor(nodesMax: number = NODES_MAX) {
    this.#nodesMax = nodesMax;
    this.root = newNode("", undefined, newFolder(undefined, 0), 0);
  }

  /**
   * Applies one entry.
   *
   * A whiteout hides what lower layers have and never what its own layer has, in whatever order they
   * come. An entry replaces what has its name, but a folder that meets a folder changes only what
   * describes it. A file of a lower layer gives way to a folder that only its children tell of.
   *
   * @throws {Failure} `layer-invalid`; `archive-too-large` for too many names
   */
  apply(entry: TarEntry, layer: number): Change {
    refuseOther(entry);
    const names = namesIn(entry.path);
    const name = names.pop();
    if (name === undefined) return this.#describeRoot(entry, layer);
    if (isAufsNote(name) || names.some(isAufsNote)) return NOTHING;
    if (name.startsWith(WHITEOUT)) return this.#whiteOut(names, name, layer);
    const target = entry.type === "hardlink" ? this.#linkTarget(entry) : undefined;
    const changes = { removed: [] as TreeNode[], implied: [] as TreeNode[] };
    const parent = this.#makeFolders(names, layer, changes);
    const there = childrenOf(parent).get(name);
    touch(parent, layer);
    if (there !== undefined && isFolder(there) && entry.type === "folder") {
      describe(there, entry, layer);
      return { ...changes, made: there, isKept: true, linkOf: undefined };
    }
    // A hard link to itself is what some builders write for a file that did not change.
    if (there !== undefined && there.inode === target?.inode) {
      there.touched = layer;
      return { ...changes, made: undefined, isKept: true, linkOf: undefined };
    }
    if (there !== undefined) {
      changes.removed.push(there);
      this.#forget(there);
    }
    if (changes.removed.some((gone) => isAbove(gone, target))) {
      throw linkBroken(entry, "is what it replaces, or lies below it");
    }
    const made = this.#add(parent, name, target?.inode ?? newInode(entry, layer), layer);
    return { ...changes, made, isKept: false, linkOf: target };
  }

  /**
   * What a path leads to, through symbolic links, as the system would see it with this root; undefined
   * when there is nothing.
   *
   * @param followLast whether a link at the end of the path is followed too
   */
  find(path: string, followLast = true): TreeNode | undefined {
    const walk = { left: namesIn(path), node: this.root, links: 0 };
    for (let name = walk.left.shift(); name !== undefined; name = walk.left.shift()) {
      if (name === "..") {
        walk.node = walk.node.parent ?? this.root;
        continue;
      }
      const child = walk.node.inode.children?.get(name);
      if (child === undefined) return undefined;
      if (child.inode.kind === "symlink" && (followLast || walk.left.length > 0)) {
        if (!followLink(walk, child, this.root)) return undefined;
      } else {
        walk.node = child;
      }
    }
    return walk.node;
  }

  #describeRoot(entry: TarEntry, layer: number): Change {
    if (entry.type !== "folder") {
      throw layerInvalid(`${quoted(entry.path)} would make the root a ${entry.type}`);
    }
    describe(this.root, entry, layer);
    return { removed: [], implied: [], made: this.root, isKept: true, linkOf: undefined };
  }

  #whiteOut(names: readonly string[], name: string, layer: number): Change {
    const removed: TreeNode[] = [];
    const change = { ...NOTHING, removed };
    const hidden = name.slice(WHITEOUT.length);
    if (hidden === "" || hidden === "." || hidden === "..") {
      throw layerInvalid(`the whiteout ${quoted(name)} names nothing that could be hidden`);
    }
    const folder = this.find(names.join("/"));
    if (folder === undefined || !isFolder(folder)) return change;
    const victims =
      name === OPAQUE ? [...childrenOf(folder).values()] : [childrenOf(folder).get(hidden)];
    for (const victim of victims) if (victim !== undefined) this.#hide(victim, layer, removed);
    return change;
  }

  #hide(node: TreeNode, layer: number, removed: TreeNode[]): void {
    if (node.touched < layer) {
      this.#forget(node);
      removed.push(node);
      return;
    }
    for (const child of [...(node.inode.children?.values() ?? [])])
      this.#hide(child, layer, removed);
  }

  /** The folder that a path leads to, made where it is missing. */
  #makeFolders(
    names: readonly string[],
    layer: number,
    { removed, implied }: { removed: TreeNode[]; implied: TreeNode[] },
  ): TreeNode {
    const walk = { left: [...names], node: this.root, links: 0 };
    for (let name = walk.left.shift(); name !== undefined; name = walk.left.shift()) {
      if (name === "..") {
        walk.node = walk.node.parent ?? this.root;
        continue;
      }
      const child = childrenOf(walk.node).get(name);
      if (child?.inode.kind === "symlink") {
        if (!followLink(walk, child, this.root)) {
          throw layerInvalid(`${quoted(names.join("/"))} leads through symbolic links without end`);
        }
        continue;
      }
      if (child !== undefined && isFolder(child)) {
        walk.node = child;
        continue;
      }
      if (child !== undefined) {
        if (child.touched >= layer) {
          throw layerInvalid(`${quoted(names.join("/"))} is a file and a folder at once`);
        }
        this.#forget(child);
        removed.push(child);
      }
      walk.node = this.#add(walk.node, name, newFolder(undefined, layer), layer);
      implied.push(walk.node);
    }
    return walk.node;
  }

  #linkTarget(entry: TarEntry): TreeNode {
    const target = this.find(entry.linkPath, false);
    if (target === undefined) throw linkBroken(entry, "is not there");
    if (isFolder(target)) throw linkBroken(entry, "is a folder");
    return target;
  }

  #add(parent: TreeNode, name: string, inode: Inode, layer: number): TreeNode {
    this.#nodes += 1;
    if (this.#nodes > this.#nodesMax) {
      throw archiveTooLarge(`more than ${this.#nodesMax} files`, `${this.#nodesMax}`);
    }
    if (name.length > NAME_BYTES_MAX / 4 && nameBytes(name) > NAME_BYTES_MAX) {
      throw layerInvalid(`the name ${quoted(name, 60)} has more than ${NAME_BYTES_MAX} bytes`);
    }
    if (name.startsWith(WHITEOUT)) {
      throw layerInvalid(
        `a folder has the name ${quoted(name, 60)}, which only a whiteout may have`,
      );
    }
    if (parent.depth >= DEPTH_MAX) {
      throw archiveTooLarge(`more than ${DEPTH_MAX} folders in each other`, `${DEPTH_MAX}`);
    }
    const node = newNode(name, parent, inode, layer);
    childrenOf(parent).set(name, node);
    return node;
  }

  #forget(node: TreeNode): void {
    node.parent?.inode.children?.delete(node.name);
    for (const _ of walkTree(node)) this.#nodes -= 1;
  }
}

/** What the file system AUFS wrote for itself, and old images have in them. */
function isAufsNote(name: string): boolean {
  return name.startsWith(AUFS) && name !== OPAQUE;
}

/** Where a node lies, from the root, without a slash at the start; "" for the root. */
export function pathOf(node: TreeNode): string {
  const names: string[] = [];
  for (let at: TreeNode | undefined = node; at?.parent !== undefined; at = at.parent) {
    names.push(at.name);
  }
  return names.reverse().join("/");
}

/** A node and all below it, each folder before what is in it. */
export function* walkTree(node: TreeNode): Generator<TreeNode> {
  const stack = [node];
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    yield at;
    for (const child of at.inode.children?.values() ?? []) stack.push(child);
  }
}

/** Whether a node is a folder. */
export function isFolder(node: TreeNode): boolean {
  return node.inode.kind === "folder";
}

interface Walk {
  left: string[];
  node: TreeNode;
  links: number;
}

/** Puts the link's target in the place of the link; false when there are too many of them. */
function followLink(walk: Walk, link: TreeNode, root: TreeNode): boolean {
  walk.links += 1;
  if (walk.links > LINKS_MAX) return false;
  const target = link.inode.entry?.linkPath ?? "";
  // Absolute is from this root, and above the root is the root: as after chroot.
  if (target.startsWith("/")) walk.node = root;
  walk.left = [...target.split("/").filter(isName), ...walk.left];
  return true;
}

function isName(name: string): boolean {
  return name !== "" && name !== ".";
}

/** The names of an entry's path. @throws {Failure} `layer-invalid` when it climbs above the root */
function namesIn(path: string): string[] {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (!isName(name)) continue;
    if (name !== "..") names.push(name);
    else if (names.pop() === undefined) {
      throw layerInvalid(`${quoted(path)} leads out of the root, expected a path within`);
    }
  }
  return names;
}

function newNode(
  name: string,
  parent: TreeNode | undefined,
  inode: Inode,
  touched: number,
): TreeNode {
  return { name, parent, depth: parent === undefined ? 0 : parent.depth + 1, inode, touched };
}

function newFolder(entry: Inode["entry"], layer: number): Inode {
  return { kind: "folder", entry, layer, children: new Map() };
}

function newInode(entry: TarEntry, layer: number): Inode {
  if (entry.type === "folder") return newFolder(withoutBody(entry), layer);
  return {
    kind: entry.type as Inode["kind"],
    entry: withoutBody(entry),
    layer,
    children: undefined,
  };
}

function describe(node: TreeNode, entry: TarEntry, layer: number): void {
  node.inode.entry = withoutBody(entry);
  node.inode.layer = layer;
  touch(node, layer);
}

function withoutBody({ body: _, ...entry }: TarEntry): Omit<TarEntry, "body"> {
  return entry;
}

function touch(node: TreeNode, layer: number): void {
  for (let at: TreeNode | undefined = node; at !== undefined; at = at.parent) {
    at.touched = layer;
  }
}

function childrenOf({ inode }: TreeNode): Map<string, TreeNode> {
  return inode.children ?? new Map();
}

function isAbove(node: TreeNode, other: TreeNode | undefined): boolean {
  for (let at = other; at !== undefined; at = at.parent) if (at === node) return true;
  return false;
}

function linkBroken({ path, linkPath }: TarEntry, why: string): Error {
  return layerInvalid(
    `the hard link ${quoted(path)} is to ${quoted(linkPath)}, which ${why}, expected a file`,
  );
}
