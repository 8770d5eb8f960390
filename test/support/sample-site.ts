import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const FIXTURES = join(import.meta.dir, "..", "fixtures");

/** What the external registry of the sample must hold, under the names that `replace` gives. */
export const SAMPLE_IMAGES = [
  "core-ubuntu-20-lts-rke2:v1.25.2-rke2r1",
  "rke2-cloud-provider:v1.25.3-build20221017",
  "cni:v3.27.0",
  "node:v3.27.0",
  "kube-controllers:v3.27.0",
  "local-path-provisioner:v0.0.26",
  "busybox:latest",
  "hello-universe:1.3.2",
  "hello-universe:1.3.2-proxy",
  "hello-universe-api:1.1.1",
  "hello-universe-db:1.1.0",
] as const;

/** The sample as it lies in the fixtures. */
export const SAMPLE_PROFILE: string = join(FIXTURES, "edge-rke2", "profile.yaml");

export const SAMPLE_LOGIN = { username: "ubuntu", password: "secret-password" };

/**
 * The sample profile in a folder of its own, its packs beside it, with user data that names an
 * external registry on loopback. The sample's pack that is pinned to a digest of a real registry is
 * left out: nobody can make an image for it.
 */
export async function writeSampleSite(
  folder: string,
  address: string,
): Promise<{ readonly args: readonly string[] }> {
  await mkdir(join(folder, "edge-rke2"), { recursive: true });
  await cp(join(FIXTURES, "packs"), join(folder, "packs"), { recursive: true });
  const profile = await Bun.file(join(FIXTURES, "edge-rke2", "profile.yaml")).text();
  await writeFile(
    join(folder, "edge-rke2", "profile.yaml"),
    profile.replace(/^.*spegel-0\.7\.2\n/m, ""),
  );
  const userData = await Bun.file(join(FIXTURES, "edge-rke2", "user-data-external.yaml")).text();
  await writeFile(
    join(folder, "edge-rke2", "user-data.yaml"),
    userData.replace("10.10.254.254:8000", address),
  );
  return {
    args: [
      `--profile=${join(folder, "edge-rke2", "profile.yaml")}`,
      `--user-data=${join(folder, "edge-rke2", "user-data.yaml")}`,
    ],
  };
}
