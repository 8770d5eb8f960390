import { describe, expect, test } from "bun:test";
import { Findings, Secret } from "#base";
import { ANONYMOUS } from "#credential";
import { readClusterInputs } from "#profile";
import { parseReference } from "#reference";
import {
  app,
  imagesOf,
  OS,
  PROVIDER_IMAGE,
  planCluster,
  planFiles,
  warningCodes,
  writeCluster,
} from "#test-support/plan-inputs";
import { decideSiteAccess } from "./access.ts";
import { planDocument } from "./document.ts";
import { decideFetcherAccess } from "./fetcher.ts";

const cluster = (fetcher: unknown) => ({
  packs: [
    OS,
    app("shop", "quay.io/team/shop:1", `reg.example:5000/web/logs@sha256:${"a".repeat(64)}`),
  ],
  stylus: { registryCredentials: { domain: "mirror.example/all" } },
  site: { link: { fetcher } },
});

describe("link.fetcher in a plan", () => {
  test("names what each image is called there, leaves the source to the rules, and says why", () => {
    const plan = planCluster(cluster({ address: "10.0.0.5:5055", fallback: "4h" }));
    expect(plan.faults).toEqual([]);
    expect(imagesOf(plan).map(({ via }) => via)).toEqual([
      `10.0.0.5:5055/spectro-images/${PROVIDER_IMAGE}`,
      "10.0.0.5:5055/spectro-images/quay.io/team/shop:1",
      `10.0.0.5:5055/spectro-images/reg.example_5000/web/logs@sha256:${"a".repeat(64)}`,
    ]);
    const [, shop] = imagesOf(plan);
    expect(shop?.source).toMatchObject({ domain: "mirror.example", path: "all/shop" });
    const reason = shop?.because.find(({ rule }) => rule === "link-fetcher");
    expect(reason?.text).toBe(
      "link.fetcher has it fetched by 10.0.0.5:5055, from where it comes as 10.0.0.5:5055/spectro-images/quay.io/team/shop:1; when nothing new has come from there for 4h00m, it is fetched from the source over the uplink",
    );
  });

  test("says that the uplink stays unused where nothing allows it", () => {
    const [image] = imagesOf(planCluster(cluster("10.0.0.5:5055")));
    expect(JSON.stringify(image?.because)).toContain("this host never uses the uplink for it");
  });

  test("adds nothing to the document of a host that fetches itself", () => {
    const { link: _, ...site } = cluster(null).site;
    const plan = planCluster({ ...cluster(null), site });
    expect(JSON.stringify(planDocument(plan))).not.toContain('"via"');
  });
});

describe("a registry that no image comes from", () => {
  const PEM = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----";
  const inputsWith = (site: Record<string, unknown>) => {
    const { names, files } = writeCluster({
      packs: [OS],
      site,
      files: { password: "hunter2\n", "ca.pem": `${PEM}\n` },
    });
    return readClusterInputs(names, files, new Findings());
  };
  const credentials = [
    { registry: "10.0.0.5:5055", username: "all", passwordFile: "password", insecure: true },
    { registry: "10.0.0.5:5055/sites", username: "sites", passwordFile: "password" },
  ];

  test("is talked to with the longest match of the site's credentials", () => {
    const inputs = inputsWith({ credentials });
    const access = (reference: string) =>
      decideSiteAccess(parseReference(reference), inputs, () => undefined);
    expect(access("10.0.0.5:5055/other/a:1")).toMatchObject({
      ...{ origin: "site:credentials[0]", insecure: true },
      credential: { username: "all" },
    });
    expect(access("10.0.0.5:5055/sites/a:1")).toMatchObject({
      ...{ origin: "site:credentials[1]", insecure: false },
      credential: { username: "sites" },
    });
    expect(access("10.0.0.6:5055/sites/a:1")).toEqual({ ...ANONYMOUS });
  });

  test("is talked to with Docker's credential where the site has none", () => {
    const docker = { kind: "registry-token", token: new Secret("t") } as const;
    const access = decideSiteAccess(
      parseReference("10.0.0.5:5055/sites/a:1"),
      inputsWith({ credentials: [{ registry: "10.0.0.5:5055", caFile: "ca.pem" }] }),
      () => docker,
    );
    expect(access).toMatchObject({
      ...{ origin: "docker-config", credential: docker, certificates: [PEM] },
    });
  });

  test("as the host that fetches has the login of link.fetcher before that of credentials", () => {
    const accessOf = (fetcher: Record<string, unknown>) => {
      const inputs = inputsWith({ credentials, link: { fetcher } });
      return inputs.site.fetcher && decideFetcherAccess(inputs.site.fetcher, inputs);
    };
    const own = { username: "node", passwordFile: "password", caFile: "ca.pem" };
    expect(accessOf({ address: "10.0.0.5:5055", ...own })).toMatchObject({
      ...{ origin: "site:link.fetcher", credential: { username: "node" } },
      ...{ certificates: [PEM], insecure: true },
    });
    expect(accessOf({ address: "10.0.0.5:5055" })).toMatchObject({
      ...{ origin: "site:credentials[0]", credential: { username: "all" } },
    });
  });
});

describe("a credential of the site that fits no image is no leftover when it is for", () => {
  const credentials = [{ registry: "10.0.0.5:5055", username: "u", passwordFile: "password" }];
  const warnings = (site: Record<string, unknown>, more = {}) =>
    warningCodes(
      planCluster({
        packs: [OS],
        site: { credentials, ...site },
        files: { password: "hunter2\n" },
        ...more,
      }),
    );

  test("nothing at all, but then it is one", () => {
    expect(warnings({})).toEqual(["credential-unused"]);
  });

  test("the host that fetches", () => {
    expect(warnings({ link: { fetcher: "10.0.0.5:5055" } })).toEqual([]);
  });

  test("a registry that steers", () => {
    const { names, files } = writeCluster({
      packs: [OS],
      site: { credentials },
      files: { password: "hunter2\n" },
    });
    const steered = { ...files, expand: () => ({ profiles: names.profiles }) };
    const plan = (profiles: readonly string[]) => planFiles({ ...names, profiles }, steered);
    expect(warningCodes(plan(["oci://10.0.0.5:5055/sites/a:1"]))).toEqual([]);
    expect(warningCodes(plan(["oci://10.0.0.6:5055/sites/a:1"]))).toEqual(["credential-unused"]);
  });
});
