import { describe, expect, test } from "bun:test";
import { findImmutable, findRemovable, type RetentionRule, type Selector } from "./policy.ts";

const matching = (pattern: string): Selector => ({ pattern, excludes: false, untagged: true });
const excluding = (pattern: string): Selector => ({ pattern, excludes: true, untagged: false });
const image = (repository: string, tag: string | null = "v1") => ({ repository, tag });

function rule(template: string, more: Partial<RetentionRule> = {}): RetentionRule {
  const all = { repositories: [matching("**")], tags: [matching("**")] };
  return { id: 1, template, count: null, ...all, ...more };
}

const removable = (rules: readonly RetentionRule[], images: readonly ReturnType<typeof image>[]) =>
  findRemovable({ id: 1, isScheduled: true, rules }, images);

describe("immutable tags", () => {
  test("a rule must select repository and tag; an image without a tag has none that could be fixed", () => {
    const one = image("quay.io/team/app", "v1");
    const images = [one, image("docker.io/library/app"), image("quay.io/team/app", "x1")];
    const fixed = { id: 7, repositories: [matching("quay.io/**")], tags: [matching("v*")] };
    expect(findImmutable([fixed], [...images, image("quay.io/team/app", null)])).toEqual([
      { rule: fixed, images: [one] },
    ]);
  });

  test("what a selector excludes is not meant", () => {
    const rules = [{ id: 7, repositories: [excluding("quay.io/**")], tags: [excluding("v*")] }];
    expect(findImmutable(rules, [image("quay.io/a", "x"), image("gcr.io/a", "v1")])).toEqual([]);
    expect(findImmutable(rules, [image("gcr.io/a", "x")])).toHaveLength(1);
  });
});

describe("retention", () => {
  const app = image("quay.io/team/app");

  test("a policy without rules, or about other repositories, removes nothing", () => {
    expect(removable([], [app])).toEqual([]);
    const others = rule("nDaysSinceLastPush", { repositories: [matching("docker.io/**")] });
    expect(removable([others], [app])).toEqual([]);
  });

  test("what some rule keeps always stays, whatever the others say", () => {
    expect(removable([rule("nDaysSinceLastPush"), rule("always")], [app])).toEqual([]);
    const tagged = rule("always", { tags: [matching("release-*")] });
    expect(removable([tagged], [app])).toEqual([app]);
  });

  test.each(["nDaysSinceLastPush", "nDaysSinceLastPull", "latestPulledN", "unknown"])(
    "%s keeps nothing for good",
    (template) => {
      expect(removable([rule(template, { count: 1000 })], [app])).toEqual([app]);
    },
  );

  test("the latest N pushed stay as long as ours are no more, repository by repository", () => {
    const three = [image("a", "1"), image("a", "2"), image("b", "1")];
    expect(removable([rule("latestPushedK", { count: 2 })], three)).toEqual([]);
    expect(removable([rule("latestPushedK", { count: 1 })], three)).toEqual(three.slice(0, 2));
    expect(removable([rule("latestPushedK")], three)).toEqual(three);
  });

  test("an image by digest alone is kept by rules that mean untagged ones", () => {
    const untagged = image("a", null);
    expect(removable([rule("always")], [untagged])).toEqual([]);
    const tags = [{ ...matching("**"), untagged: false }];
    expect(removable([rule("always", { tags })], [untagged])).toEqual([untagged]);
  });
});
