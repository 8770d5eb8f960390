import { describe, expect, test } from "bun:test";
import { Findings, systemClock } from "#base";
import { parseDigest } from "#oci";
import { readClusterInputs } from "#profile";
import { openStore } from "#store";
import { buildImage } from "#test-support/images";
import { createMemoryFiles } from "#test-support/memory-files";
import { app, OS, PROVIDER_IMAGE, planCluster } from "#test-support/plan-inputs";
import { temporaryFolder } from "#test-support/program";
import { planRedirection } from "./redirection.ts";

const MANIFEST = parseDigest(`sha256:${"a".repeat(64)}`);
const EMBEDDED = {
  origin: "http://127.0.0.1:5055",
  access: { certificates: [], insecure: false },
} as const;

/** The hosts that get a mirror, each with what is asked before the host itself. */
async function hostsOf({ via, core }: { via: "site" | "external"; core: readonly string[] }) {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: systemClock });
  await buildImage(store, PROVIDER_IMAGE, { seed: "os" });
  for (const [provider, names] of [
    [PROVIDER_IMAGE, core],
    // Of a plan before.
    ["quay.io/kairos/other:v1", ["gone.example/etcd:v3"]],
  ] as const) {
    await store.provider.begin({ provider, manifest: MANIFEST, settings: "{}", names });
  }
  const inputs = readClusterInputs({ profiles: [] }, createMemoryFiles({}), new Findings());
  const plan = planCluster({ packs: [OS, app("apps", "docker.io/library/app:v1")] });
  const { mirrors } = await planRedirection(
    { plan, inputs },
    {
      ...{ runtime: "k3s", configDir: folder.path, containerdConfig: "", dataDir: folder.path },
      ...{ via, embedded: EMBEDDED, store },
    },
    new Findings(),
  );
  return mirrors.map(({ host, endpoints }) => [host, ...endpoints.map(({ origin }) => origin)]);
}

describe("the hosts of core images, which no plan declares,", () => {
  const core = ["registry.k8s.io/pause:3.9", "registry.k8s.io/etcd:3.5", "quay.io/coreos/dns:1"];

  test("are asked of the embedded registry, which alone has them, each once", async () => {
    const { origin } = EMBEDDED;
    expect(await hostsOf({ via: "site", core })).toEqual([
      ["docker.io", origin],
      ["quay.io", origin],
      ["registry.k8s.io", origin],
    ]);
    expect(await hostsOf({ via: "site", core: [] })).toEqual([
      ["docker.io", origin],
      ["quay.io", origin],
    ]);
  });

  test("get no rule where nodes go to an external registry alone, which has none of them", async () => {
    expect(await hostsOf({ via: "external", core })).toEqual([]);
  });
});
