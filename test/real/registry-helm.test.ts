import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { testCertificates } from "#test-support/certificates";
import { haveClients, runClient } from "#test-support/foreign-client";
import { PULLER, PUSHER, startGuardedRegistry } from "#test-support/guarded-registry";
import { dray, temporaryFolder } from "#test-support/program";

setDefaultTimeout(60_000);

/** A chart, packaged by helm, in a folder; gives the file. */
async function packageChart(folder: string, version: string): Promise<string> {
  const chart = join(folder, "shop");
  await mkdir(join(chart, "templates"), { recursive: true });
  const meta = `apiVersion: v2\nname: shop\nversion: ${version}\ndescription: of a test\n`;
  await writeFile(join(chart, "Chart.yaml"), meta);
  const map = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {version: "${version}"}\n`;
  await writeFile(join(chart, "templates", "map.yaml"), map);
  await runClient(folder, ["helm", "package", chart]);
  return join(folder, `shop-${version}.tgz`);
}

describe.skipIf(!haveClients("helm"))("helm", () => {
  test("pushes charts with TLS and a password, and pulls the same bytes", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startGuardedRegistry(folder.path);
    const { caPath } = testCertificates();
    const helm = (...words: readonly string[]) => runClient(folder.path, ["helm", ...words]);
    const login = ({ username, password }: typeof PUSHER) =>
      helm(
        ...["registry", "login", registry.address, `--ca-file=${caPath}`],
        ...[`--username=${username}`, `--password=${password}`],
      );
    const charts = `oci://${registry.address}/charts`;
    await login(PUSHER);
    const files = new Map<string, Uint8Array>();
    for (const version of ["1.0.0", "1.1.0+build.7"]) {
      const file = await packageChart(folder.path, version);
      files.set(version, await readFile(file));
      await helm("push", file, charts, `--ca-file=${caPath}`);
    }
    await login(PULLER);
    const pulled = join(folder.path, "pulled");
    await mkdir(pulled);
    for (const [version, bytes] of files) {
      const words = [`${charts}/shop`, `--version=${version}`, `--ca-file=${caPath}`];
      await helm("pull", ...words, `--destination=${pulled}`);
      expect(await readFile(join(pulled, `shop-${version}.tgz`))).toEqual(Buffer.from(bytes));
      expect(await helm("template", "a", ...words)).toContain(`version: "${version}"`);
    }
    // Without a version it takes the newest of the list of tags.
    const latest = await helm("show", "chart", `${charts}/shop`, `--ca-file=${caPath}`);
    expect(latest).toContain("version: 1.1.0+build.7");
    const denied = helm("push", join(folder.path, "shop-1.0.0.tgz"), charts, `--ca-file=${caPath}`);
    await expect(denied).rejects.toThrow(/denied|403/i);
    const verified = await dray(["verify", `--data-dir=${join(folder.path, "data")}`]);
    expect(verified).toMatchObject({ exitCode: 0 });
  });
});
