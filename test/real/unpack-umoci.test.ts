import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#base";
import { copyContent, readImageGraph } from "#content";
import { OCI_INDEX, parseDocument, parsePlatform } from "#oci";
import { openLayout, openStore } from "#store";
import { dray, temporaryFolder } from "#test-support/program";

/** Building and unpacking a Debian takes half a minute. */
setDefaultTimeout(300_000);

const MISSING = ["umoci", "debootstrap", "getfattr", "setcap"].filter((name) => !Bun.which(name));
const IS_ROOT = process.geteuid?.() === 0;
const WHY = [...MISSING, ...(IS_ROOT ? [] : ["root"])].join(", ");

const NAME = "quay.io/kairos/debian:bookworm";

/** Runs a script of shell, and shows what it said when it failed. */
async function shell(cwd: string, script: string): Promise<string> {
  const run = Bun.spawn(["bash", "-euc", script], { cwd, stdout: "pipe", stderr: "pipe" });
  const [out, err] = await Promise.all([
    new Response(run.stdout).text(),
    new Response(run.stderr).text(),
  ]);
  if ((await run.exited) !== 0) throw new Error(`${script}\n${out}\n${err}`);
  return out;
}

/** A Debian in three layers, with everything in it that a root file system can have. */
const BUILD = `
debootstrap --variant=minbase bookworm root >debootstrap.log 2>&1
umoci init --layout oci
umoci new --image oci:t
umoci unpack --image oci:t b
R=b/rootfs
cp -a root/. $R/
mknod $R/dev/disk b 259 1048575; mknod $R/dev/mem c 1 3; mkfifo $R/run/fifo
setfattr -n user.hello -v world $R/etc/hostname; setfattr -n user.dir -v x $R/srv
setcap cap_net_raw+ep $R/bin/ls; ln $R/bin/ls $R/bin/ls-hard; ln -P $R/bin/sh $R/opt/hard-symlink
mkdir -p $R/opt/gone/deep $R/opt/kept; echo x >$R/opt/gone/deep/f; echo y >$R/opt/kept/a
echo b >$R/opt/kept/b; echo hi >$R/opt/file-to-folder; mkdir $R/opt/folder-to-file
echo in >$R/opt/folder-to-file/in
chown 1234:4321 $R/opt/kept/a; chmod 6755 $R/opt/kept/a; chmod 3777 $R/srv
printf x >$R/opt/$'name\\xff\\xfe'; printf x >$R/opt/Főtanúsítvány; printf x >"$R/opt/$(printf 'n%.0s' {1..250})"
ln -s /etc/passwd $R/opt/absolute; ln -s ../../../../../../etc/x $R/opt/up
touch -d '1969-12-31 23:00:00' $R/opt/old
chown -h 7:8 $R/opt/up
umoci repack --refresh-bundle --image oci:t b
rm -rf $R/opt/gone $R/opt/file-to-folder $R/opt/folder-to-file $R/usr/share/doc; rm $R/opt/kept/a
mkdir $R/opt/file-to-folder; echo z >$R/opt/file-to-folder/in; echo z >$R/opt/folder-to-file
chmod 700 $R/root; touch -d '2020-01-01 01:02:03.123456789' $R/etc/fstab; setcap -r $R/bin/ls
setfattr -n user.hello -v anew $R/etc/hostname
umoci repack --refresh-bundle --image oci:t b
rm -rf $R/etc/alternatives; rm $R/opt/old; ln -s usr/share $R/share; mkdir -p $R/opt/new/a/b/c
umoci repack --refresh-bundle --image oci:t b
umoci unpack --image oci:t expected
`;

/** Brings the one image of a layout into a store. */
async function storeImage(path: string, dataDir: string): Promise<void> {
  const layout = await openLayout(path);
  const index = parseDocument(readFileSync(join(path, "index.json")), OCI_INDEX);
  const [root] = index.kind === "index" ? index.manifests : [];
  if (root === undefined) throw new Error("umoci wrote no image");
  await using store = await openStore(dataDir, { clock: systemClock });
  const { signal } = new AbortController();
  const graph = await readImageGraph(layout, root, parsePlatform("linux/amd64"), { signal });
  for (const each of [...graph.blobs, root]) await copyContent(layout, store, each, { signal });
  await store.name(NAME, root);
}

/** What is to be the same, by path: everything that `stat` tells but numbers of inodes, and the content. */
async function describeRoot(root: string): Promise<Map<string, string>> {
  const attributes = attributesByPath(
    await shell(root, "LC_ALL=C getfattr -R -P -h -d -m - -e hex . 2>/dev/null"),
  );
  const described = new Map<string, string>();
  const firstNames = new Map<bigint, string>();
  const visit = (path: Buffer) => {
    const full = Buffer.concat([Buffer.from(`${root}/`), path]);
    const s = lstatSync(full, { bigint: true });
    const name = path.toString("latin1");
    const isFile = s.isFile();
    const first = firstNames.get(s.ino) ?? name;
    if (!s.isDirectory()) firstNames.set(s.ino, first);
    const content = isFile ? createHash("sha256").update(readFileSync(full)).digest("hex") : "";
    const link = s.isSymbolicLink() ? readlinkSync(full, "latin1") : "";
    const parts = [s.mode, s.uid, s.gid, isFile ? s.size : 0, s.mtimeNs, s.rdev, first, link];
    described.set(name, [...parts, content, attributes.get(name) ?? ""].join(" "));
    if (!s.isDirectory()) return;
    const names = readdirSync(full, { encoding: "buffer" }).sort(Buffer.compare);
    for (const child of names) {
      visit(name === "." ? child : Buffer.concat([path, Buffer.from("/"), child]));
    }
  };
  visit(Buffer.from("."));
  return described;
}

function attributesByPath(text: string): Map<string, string> {
  const blocks = text.split("\n\n").map((block) => block.split("\n"));
  return new Map(
    blocks.map(([head = "", ...lines]) => [
      head.replace("# file: ", ""),
      lines
        .filter((line) => line !== "")
        .sort()
        .join(" "),
    ]),
  );
}

describe.skipIf(WHY !== "")(`umoci (left out where these are missing: ${WHY || "none"})`, () => {
  test("a Debian root is unpacked as umoci does it, entry by entry", async () => {
    await using folder = await temporaryFolder();
    await shell(folder.path, BUILD);
    const dataDir = join(folder.path, "data");
    await storeImage(join(folder.path, "oci"), dataDir);
    const target = join(folder.path, "actual");
    const unpacked = await dray([
      "unpack",
      NAME,
      target,
      "-d",
      dataDir,
      "--platform",
      "linux/amd64",
    ]);
    expect(unpacked).toMatchObject({ exitCode: 0, err: "" });
    const expected = await describeRoot(join(folder.path, "expected", "rootfs"));
    const actual = await describeRoot(target);
    expect([...actual.keys()]).toEqual([...expected.keys()]);
    for (const [path, line] of expected)
      expect(`${path} ${actual.get(path)}`).toBe(`${path} ${line}`);
    expect(actual.size).toBeGreaterThan(5_000);
    const oneTwice = [...actual].filter(([path]) => /^(usr\/)?bin\/ls(-hard)?$/.test(path));
    expect(oneTwice).toHaveLength(2);
    expect(new Set(oneTwice.map(([, line]) => line)).size).toBe(1);
    expect([...actual.keys()].some((path) => path.startsWith("opt/gone"))).toBe(false);
  });
});
