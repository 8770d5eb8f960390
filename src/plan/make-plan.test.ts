import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { contains, formatReference, parseLocation, parseReference } from "#reference";
import {
  app,
  type ClusterSketch,
  imagesOf,
  osPack,
  type PackSketch,
  planCluster,
  registrySecret,
} from "#test-support/plan-inputs";
import { planDocument } from "./document.ts";
import type { Plan, PlannedImage, RuleName } from "./plan.ts";

/** A small world, so that images, rules, credentials and packs meet often. */
const HOSTS = [
  "quay.io",
  "docker.io",
  "ghcr.io",
  "reg.example.com:5000",
  "mirror.example",
] as const;
const PATHS = ["team", "team/sub", "teamwork", "images"] as const;
const PINS = ["", ":1", ":2", `@sha256:${"a".repeat(64)}`, `:1@sha256:${"b".repeat(64)}`] as const;
const NAMES = ["zot", "harbor", "cert-manager", "shop", "web", "logs"] as const;

const host = fc.constantFrom(...HOSTS);
const location = fc
  .tuple(host, fc.constantFrom("", ...PATHS.map((path) => `/${path}`)))
  .map((parts) => parts.join(""));
const image = fc
  .tuple(host, fc.constantFrom(...PATHS), fc.constantFrom("app", "web"), fc.constantFrom(...PINS))
  .map(([domain, path, name, pin]) => `${domain}/${path}/${name}${pin}`);

const secret = fc.tuple(fc.constantFrom("reg-a", "reg-b"), location).map(([name, url]) => {
  return registrySecret(name, { url, username: `${name} at ${url}`, password: "x" });
});

const pack = (name: string): fc.Arbitrary<PackSketch> =>
  fc.record({
    name: fc.constant(name),
    layer: fc.constantFrom("k8s", "cni", "csi", "addon", "addon"),
    images: fc.array(image, { maxLength: 4 }),
    manifests: fc.array(secret, { maxLength: 2 }),
  });

const packs = fc
  .uniqueArray(fc.constantFrom(...NAMES), { maxLength: 5 })
  .chain((names) => fc.tuple(...names.map(pack)));

const os = fc
  .tuple(image, fc.option(location, { nil: undefined }))
  .map(([uri, registry]) =>
    osPack(uri, registry === undefined ? undefined : { registry, user: "edge", password: "x" }),
  );

const login = fc.constantFrom({}, { username: "edge", password: "x" });
const externals = fc.uniqueArray(
  fc.tuple(location, login).map(([domain, user]) => ({ domain, ...user })),
  { maxLength: 2, selector: ({ domain }) => domain },
);
const rules = fc.uniqueArray(fc.tuple(location, location), {
  maxLength: 4,
  selector: ([from]) => from,
});
const siteCredentials = fc.uniqueArray(
  location.map((registry) => ({ registry, username: `site at ${registry}` })),
  { maxLength: 3, selector: ({ registry }) => registry },
);

/** What {@link toSketch} makes a cluster of; each list may be put in any other order. */
const world = fc.record({
  first: packs,
  os,
  second: fc.uniqueArray(image, { maxLength: 3 }),
  externals,
  rules,
  siteCredentials,
  site: fc.record({
    rewrite: fc.constantFrom("replace", "prepend"),
    combinations: fc.constantFrom<"strict" | "extended">("strict", "extended"),
    localRegistry: fc.constantFrom(
      {},
      { kind: "none" },
      { kind: "oci", address: "10.0.0.5:30003" },
    ),
    link: fc.constantFrom({}, { fetcher: "10.0.0.6:5055" }),
  }),
});
type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

function toSketch(made: World): ClusterSketch {
  const { siteCredentials: credentials, externals: registries } = made;
  const registryMappingRules = Object.fromEntries(made.rules);
  return {
    profiles: {
      "first.json": [...made.first, made.os],
      "second.json": [app("extra", ...made.second)],
    },
    stylus: { externalRegistries: { registries, registryMappingRules } },
    site: { ...made.site, credentials },
  };
}

/** The same world, its lists in another order; only that of the external registries has a meaning. */
function shuffled(made: World): fc.Arbitrary<ClusterSketch> {
  const shuffle = <T>(list: readonly T[]) =>
    fc.shuffledSubarray([...list], { minLength: list.length });
  const shufflePack = (one: PackSketch) =>
    fc
      .tuple(shuffle(one.images ?? []), shuffle(one.manifests ?? []))
      .map(([images, manifests]) => ({
        ...one,
        ...(one.images === undefined ? {} : { images, manifests }),
      }));
  const { profiles, ...rest } = toSketch(made);
  const files = Object.entries(profiles ?? {}).map(([file, list]) =>
    fc
      .tuple(...list.map(shufflePack))
      .chain(shuffle)
      .map((content) => [file, content] as const),
  );
  return fc
    .tuple(fc.tuple(...files).chain(shuffle), shuffle(made.rules), shuffle(made.siteCredentials))
    .map(([listed, reordered, credentials]) => ({
      ...rest,
      ...toSketch({ ...made, rules: reordered, siteCredentials: credentials }),
      profiles: Object.fromEntries(listed),
    }));
}

/** The decisions of a plan, without what is positional by nature: places, and indexes in origins. */
function decisions(plan: Plan): unknown {
  const timeless = (text: string) =>
    text.replace(/(site:credentials)\[\d+\]/g, "$1").replace(/(\.(?:json|yaml)):\d+/g, "$1");
  const findings = (list: Plan["faults"]) =>
    list.map(({ code, message, remedy }) => timeless([code, message, remedy].join("|"))).sort();
  return {
    ...plan,
    stages: plan.stages.map(({ name, images }) => ({
      name,
      images: images.map(({ at, access, because, ...decided }) => ({
        ...decided,
        places: at.length,
        access: { ...access, origin: timeless(access.origin ?? "") },
        username: access.credential?.kind === "password" ? access.credential.username : null,
        because: because.map(({ rule, text }) => `${rule}: ${timeless(text)}`),
      })),
    })),
    warnings: findings(plan.warnings),
    faults: findings(plan.faults),
  };
}

const RUNS = { numRuns: 100 };

/** Every rule of the design. */
const RULES: Readonly<Record<RuleName, true>> = {
  "provider-first": true,
  "provider-location": true,
  "provider-registry": true,
  "provider-credentials": true,
  "pack-registry": true,
  "pack-credentials": true,
  "external-registry": true,
  "rewrite-replace": true,
  "rewrite-prepend": true,
  "mapping-rule": true,
  "already-there": true,
  "external-credentials": true,
  "local-upload": true,
  "local-serve": true,
  bootstrap: true,
  combination: true,
  "link-fetcher": true,
};

describe("makePlan()", () => {
  test("does not depend on the order of profiles, packs, images, rules, credentials", () => {
    const pairs = world.chain((made) => fc.tuple(fc.constant(toSketch(made)), shuffled(made)));
    fc.assert(
      fc.property(pairs, ([sketch, other]) => {
        expect(decisions(planCluster(other))).toEqual(decisions(planCluster(sketch)));
      }),
      RUNS,
    );
  });

  test("names every rule in the reasons of some plan, and no rule that is none", () => {
    const named = new Set<string>();
    for (const made of fc.sample(world, { seed: 1, numRuns: 100 })) {
      for (const { because } of imagesOf(planCluster(toSketch(made))))
        for (const { rule } of because) named.add(rule);
    }
    expect([...named].sort()).toEqual(Object.keys(RULES).sort());
  });

  test("gives a reason for every image, in words", () => {
    fc.assert(
      fc.property(world, (made) => {
        for (const { because } of imagesOf(planCluster(toSketch(made)))) {
          expect(because.length).toBeGreaterThan(0);
          for (const { text } of because) expect(text).toMatch(/^\S.{10,}[^.\s]$/);
        }
      }),
      RUNS,
    );
  });

  test("gives the same bytes for the same inputs", () => {
    fc.assert(
      fc.property(world, (made) => {
        const bytes = () => JSON.stringify(planDocument(planCluster(toSketch(made))));
        expect(bytes()).toBe(bytes());
      }),
      RUNS,
    );
  });

  test("holds every declared image exactly once, in order of names within its stage", () => {
    fc.assert(
      fc.property(world, (made) => {
        const written = [
          ...made.first.flatMap(({ images }) => images ?? []),
          ...made.second,
          providerOf(made),
        ];
        const wanted = new Set(written.map((text) => formatReference(parseReference(text))));
        const plan = planCluster(toSketch(made));
        const names = plan.stages.map(({ images }) => images.map(nameOf));
        expect(names.flat().sort()).toEqual([...wanted].sort());
        for (const stage of names) expect(stage).toEqual(stage.toSorted());
      }),
      RUNS,
    );
  });

  test("puts each image into the earliest stage of those who declare it", () => {
    fc.assert(
      fc.property(world, (made) => {
        const infrastructure = new Set(
          made.first
            .filter(({ layer }) => layer !== "addon")
            .flatMap(({ images }) => images ?? [])
            .map((text) => formatReference(parseReference(text))),
        );
        const provider = formatReference(parseReference(providerOf(made)));
        for (const { name, images } of planCluster(toSketch(made)).stages) {
          for (const planned of images) {
            const declared = nameOf(planned);
            const lower = infrastructure.has(declared) ? "infrastructure" : "application";
            expect(planned.category).toBe(name);
            expect(name).toBe(declared === provider ? "provider" : lower);
            expect(planned.layer === "addon").toBe(name === "application");
          }
        }
      }),
      RUNS,
    );
  });

  test("fetches everything from the first external registry when there is one and no rule, in strict", () => {
    fc.assert(
      fc.property(world, location, (made, domain) => {
        const site = { ...made.site, combinations: "strict" as const };
        const plan = planCluster(toSketch({ ...made, externals: [{ domain }], rules: [], site }));
        for (const { source } of imagesOf(plan))
          expect(contains(parseLocation(domain), source)).toBe(true);
      }),
      RUNS,
    );
  });

  test("leaves every tag and digest as it was declared", () => {
    fc.assert(
      fc.property(world, (made) => {
        for (const { declared, source } of imagesOf(planCluster(toSketch(made)))) {
          expect({ tag: source.tag, digest: source.digest }).toEqual({
            tag: declared.tag,
            digest: declared.digest,
          });
        }
      }),
      RUNS,
    );
  });

  test("sends providerCredentials for provider images only, from where the OS pack says", () => {
    fc.assert(
      fc.property(world, (made) => {
        const plan = planCluster(toSketch(made));
        if (plan.faults.some(({ code }) => code === "provider-registry-mismatch")) return;
        for (const { access, category, declared, source } of imagesOf(plan)) {
          if (access.origin !== "os-pack:providerCredentials") continue;
          expect(category).toBe("provider");
          expect(source.domain).toBe(declared.domain);
        }
      }),
      RUNS,
    );
  });

  test("uploads applications only, never provider or bootstrap images", () => {
    fc.assert(
      fc.property(world, (made) => {
        const plan = planCluster(toSketch(made));
        const applications = new Set(
          [
            ...made.first
              .filter(({ layer }) => layer === "addon")
              .flatMap(({ images }) => images ?? []),
            ...made.second,
          ].map((text) => formatReference(parseReference(text))),
        );
        for (const planned of imagesOf(plan)) {
          const isBootstrap = planned.packs.some((name) =>
            ["zot", "harbor", "cert-manager"].includes(name),
          );
          const isUploaded =
            plan.registries.local !== null &&
            applications.has(nameOf(planned)) &&
            planned.category !== "provider" &&
            !isBootstrap;
          expect(planned.local !== null).toBe(isUploaded);
          if (isUploaded) expect(planned.local).toEndWith(hostless(planned));
        }
      }),
      RUNS,
    );
  });

  test("leaves names alone that an earlier plan made, with the same external registry", () => {
    fc.assert(
      fc.property(world, externals, (made, registries) => {
        const site = { ...made.site, combinations: "strict" as const };
        fc.pre(registries.length > 0);
        const before = planCluster(toSketch({ ...made, externals: registries, rules: [], site }));
        const sources = imagesOf(before).map(({ source }) => formatReference(source));
        const again = planCluster({
          packs: [osPack(sources[0] ?? ""), app("all", ...sources.slice(1))],
          stylus: { externalRegistries: { registries } },
          site,
        });
        for (const planned of imagesOf(again)) {
          expect(formatReference(planned.source)).toBe(nameOf(planned));
          expect(planned.because[0]?.rule).toBe("already-there");
        }
      }),
      RUNS,
    );
  });
});

function nameOf({ declared }: PlannedImage): string {
  return formatReference(declared);
}

/** The declared name as it stands in the local registry; a port's colon may not stand there. */
function hostless({ declared }: PlannedImage): string {
  return `/spectro-images/${formatReference({ ...declared, domain: declared.domain.replace(":", "_") })}`;
}

function providerOf({ os: { values } }: World): string {
  const options = values?.["options"];
  const isOptions = typeof options === "object" && options !== null && "system.uri" in options;
  return isOptions ? String(options["system.uri"]) : "";
}
