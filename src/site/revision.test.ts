import { describe, expect, test } from "bun:test";
import { planDocument } from "#plan";
import { createMemoryFiles } from "#test-support/memory-files";
import { planInputs } from "./plan-inputs.ts";
import { namesIn, recallRevision, recallToShow, revisionOf } from "./revision.ts";

const PROFILE = `metadata: { name: infra }
spec:
  template:
    packs:
      - name: edge-native-byoi
        layer: os
        values: |
          options:
            system.uri: quay.io/kairos/core:v1
      - name: apps
        layer: addon
        values: |
          pack:
            content:
              images:
                - image: reg.example.com/team/app:1.2
`;

const SITE = `profiles: [p.yaml]
credentials: [{ registry: reg.example.com, username: u, passwordFile: password }]
localRegistry: { kind: oci, address: "10.0.0.5:5000", username: w, passwordFile: password }
`;

function planned({ profile = PROFILE, site = SITE, password = "hunter2" } = {}) {
  const files = createMemoryFiles({ "p.yaml": profile, "s.yaml": site, password: `${password}\n` });
  return planInputs({ site: "s.yaml" }, { files, env: {}, home: "/root" });
}

const READING = { source: "p.yaml", seenMs: 1_000 };
const idOf = (given: Parameters<typeof planned>[0] = {}) => revisionOf(planned(given), READING).id;

describe("the id of a revision", () => {
  test("is the same for the same plan, however it is written, with whatever password", () => {
    expect(idOf()).toMatch(/^[0-9a-f]{12}$/);
    expect(idOf({ profile: `# a comment\n${PROFILE}` })).toBe(idOf());
    expect(idOf({ password: "another" })).toBe(idOf());
  });

  test.each([
    ["another image", { profile: PROFILE.replace("app:1.2", "app:1.3") }],
    ["a fault", { profile: PROFILE.replace("app:1.2", "app:1.2:3") }],
    ["another credential", { site: SITE.replace("reg.example.com,", "elsewhere.example.com,") }],
    ["another place to upload to", { site: SITE.replace("10.0.0.5", "10.0.0.6") }],
    ["a runtime", { site: `${SITE}runtime: { kind: k3s }\n` }],
    [
      "another hand-over",
      { site: `${SITE}provider: { handOver: { form: oci, path: /run/os } }\n` },
    ],
  ])("differs with %s", (_, given) => expect(idOf(given)).not.toBe(idOf()));
});

describe("the record of a revision", () => {
  test("brings back the whole plan, and how registries are talked to as of now", () => {
    const { id, record } = revisionOf(planned(), READING);
    const now = planned({ password: "rotated" });
    const recalled = recallRevision(record, now);
    expect(recalled).toEqual({ id, plan: now.plan });
    const [image] = recalled.plan.stages[2]?.images ?? [];
    const credential = image?.access.credential;
    expect(credential?.kind === "password" && credential.password.reveal()).toBe("rotated");
  });

  test("holds no secret, not even a mark of one", () => {
    const { record } = revisionOf(planned(), READING);
    expect(record).not.toContain("hunter2");
    expect(record).not.toContain("[secret]");
  });

  test("shows the whole plan without the inputs: of credentials their origin, and nothing else", () => {
    const { plan } = planned();
    const shown = recallToShow(revisionOf({ ...planned(), plan }, READING).record);
    expect(planDocument(shown)).toEqual(planDocument(plan));
    expect(shown.registries.local).toMatchObject({ authenticated: true });
    expect(shown.registries.local?.access.credential).toBeUndefined();
    const images = shown.stages.flatMap((stage) => stage.images);
    expect(images.map(({ access }) => access.origin)).toEqual([null, "site:credentials[0]"]);
    expect(images.map(({ access }) => access.credential)).toEqual([undefined, undefined]);
  });

  test("of an earlier program tells no origins, and is of use all the same", () => {
    const { record } = revisionOf(planned(), READING);
    const earlier = record.replaceAll(/,"(?:credential|authenticated)":(null|"[^"]*"|true)/g, "");
    expect(earlier).not.toBe(record);
    const { stages } = recallToShow(earlier);
    expect(stages.flatMap(({ images }) => images.map(({ access }) => access.origin))).toEqual([
      ...[null, null],
    ]);
    expect(namesIn(earlier).declared).toEqual([
      ...["quay.io/kairos/core:v1", "reg.example.com/team/app:1.2"],
    ]);
  });

  test("is of use when the inputs of now know nothing of it", () => {
    const { record } = revisionOf(planned(), READING);
    const now = planned({ profile: "spec: [", site: "profiles: [p.yaml]\n" });
    const { plan } = recallRevision(record, now);
    const accesses = plan.stages.flatMap(({ images }) => images.map(({ access }) => access));
    expect(accesses.map(({ credential }) => credential)).toEqual([undefined, undefined]);
    expect(plan.registries.local?.access.credential).toBeUndefined();
  });

  test.each(["", "{", "null", "[]", '{"version":2}', '{"version":1}'])(
    "that is %j is refused by a failure",
    (record) => expect(() => recallRevision(record, planned())).toThrow("Cannot recall a revision"),
  );
});
