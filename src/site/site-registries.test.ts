import { describe, expect, test } from "bun:test";
import { isFailure, Secret, systemClock } from "#base";
import { DEFAULT_SITE, type Site } from "#profile";
import { tagOrDigest } from "#reference";
import { createAccess, createRegistry, openAccess, serveRegistry } from "#registry";
import { openStore } from "#store";
import { testCertificates } from "#test-support/certificates";
import { buildImage } from "#test-support/images";
import { app, imageOf, OS, planCluster } from "#test-support/plan-inputs";
import { temporaryFolder } from "#test-support/program";
import { remoteWith, signal } from "#test-support/remote-world";
import { embeddedAsServed } from "./embedded-address.ts";
import { openSiteRegistries } from "./site-registries.ts";

const APP = "quay.io/team/app:v1";
const { ca, server: ours, stranger } = testCertificates();

const PASSWORD = "hunter2";
const nodes = { username: "node", password: new Secret(PASSWORD) };

interface Doorway {
  readonly tls?: typeof ours;
  readonly hasUsers?: boolean;
  /** What the site file says of the registry beside where it listens. */
  readonly registry?: Partial<Site["registry"]>;
}

/** How the embedded registry answers for an image, asked by what the site file says of it. */
async function resolveDirectly({ tls, hasUsers = false, registry = {} }: Doorway) {
  await using folder = await temporaryFolder();
  await using store = await openStore(folder.path, { clock: systemClock });
  const root = await buildImage(store, APP, { seed: "app" });
  const users = {
    verify: async (user: string, password: string) => user === "node" && password === PASSWORD,
  };
  await using server = serveRegistry({
    registry: createRegistry({
      ...{ store, isWritable: false },
      access: hasUsers
        ? createAccess({ clock: systemClock, anonymousPull: false, users })
        : openAccess,
    }),
    ...{ hostname: "127.0.0.1", port: 0, clock: systemClock },
    ...(tls === undefined ? {} : { tls: { cert: tls.certificate, key: tls.key } }),
  });
  const { address } = server;
  const site = { registry: { ...DEFAULT_SITE.registry, listen: address, ...registry } };
  const remote = remoteWith();
  const registries = openSiteRegistries({
    ...{ remote, embedded: address, served: embeddedAsServed(site) },
    ...{ local: null, nodes: undefined },
  });
  const image = imageOf(planCluster({ packs: [OS, app("apps", APP)] }), APP);
  const way = registries.directWay("embedded", image);
  try {
    const found = await way?.repository.resolve(tagOrDigest(image.declared), { signal });
    return `${way?.url.split(":")[0]} ${found?.digest === root.digest ? "found" : "another"}`;
  } catch (error) {
    if (isFailure(error)) return `${way?.url.split(":")[0]} ${error.code}`;
    throw error;
  } finally {
    remote.close();
  }
}

const TLS = { certFile: ours.certificatePath, keyFile: ours.keyPath };

describe("the embedded registry on loopback is asked without a runtime", () => {
  test("by plain http where it has no certificate", async () => {
    expect(await resolveDirectly({})).toBe("http found");
  });

  test("by https where it has one, whoever signed that", async () => {
    expect(await resolveDirectly({ tls: ours, registry: { tls: TLS } })).toBe("https found");
  });

  test("by https and that authority alone which nodes are told of", async () => {
    const registry = { tls: TLS, certificates: [ca] };
    expect(await resolveDirectly({ tls: ours, registry })).toBe("https found");
    expect(await resolveDirectly({ tls: stranger, registry })).toBe("https registry-certificate");
  });

  test("with the login that nodes have, where it asks for one", async () => {
    const door = { tls: ours, hasUsers: true };
    expect(await resolveDirectly({ ...door, registry: { tls: TLS, nodes } })).toBe("https found");
    expect(await resolveDirectly({ ...door, registry: { tls: TLS } })).toBe(
      "https registry-unauthorized",
    );
  });
});
