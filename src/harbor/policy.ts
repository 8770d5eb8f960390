import { matchesDoublestar } from "./doublestar.ts";
import type { Reader } from "./reader.ts";

/** Which names a rule is about: those that match a pattern, or those that don't. */
export interface Selector {
  readonly pattern: string;
  readonly excludes: boolean;
  /** Whether artifacts without any tag are meant too; of selectors of tags. */
  readonly untagged: boolean;
}

/** What an immutable-tag rule and a rule of a retention policy have in common. */
interface SelectingRule {
  readonly id: number;
  /** All of them must select the repository, by its name within the project. */
  readonly repositories: readonly Selector[];
  readonly tags: readonly Selector[];
}

/** Tags that it selects can't be moved to other content, nor deleted. */
export interface ImmutableRule extends SelectingRule {}

/** What of the artifacts that it selects is kept. */
export interface RetentionRule extends SelectingRule {
  /** `always`, `latestPushedK`, `latestPulledN`, `nDaysSinceLastPush`, `nDaysSinceLastPull`. */
  readonly template: string;
  /** How many artifacts or days; null where the template has no number. */
  readonly count: number | null;
}

/** Removes, in the repositories that some rule selects, every artifact that no rule keeps. */
export interface RetentionPolicy {
  readonly id: number;
  readonly rules: readonly RetentionRule[];
  /** Whether it runs by itself, and not only when somebody starts it. */
  readonly isScheduled: boolean;
}

/** An image as Harbor's rules see it. */
export interface PolicyImage {
  /** Within the project: `quay.io/calico/node`. */
  readonly repository: string;
  /** Null when it is pushed by digest alone. */
  readonly tag: string | null;
}

/** The images whose tags can't be moved, by rule, where any are. */
export function findImmutable<I extends PolicyImage>(
  rules: readonly ImmutableRule[],
  images: readonly I[],
): readonly { readonly rule: ImmutableRule; readonly images: readonly I[] }[] {
  return rules
    .map((rule) => ({
      rule,
      images: images.filter((image) => image.tag !== null && selects(rule, image)),
    }))
    .filter((found) => found.images.length > 0);
}

/**
 * The images that a policy may remove: some rule is about their repository, and none keeps them for
 * good. A rule that keeps the latest N pushed does, as long as no more than N of ours are there.
 */
export function findRemovable<I extends PolicyImage>(
  { rules }: RetentionPolicy,
  images: readonly I[],
): readonly I[] {
  const isKept = (image: I, rule: RetentionRule): boolean => {
    if (!selects(rule, image)) return false;
    if (rule.template === "always") return true;
    const isOfSame = (other: I) => other.repository === image.repository && selects(rule, other);
    return rule.template === "latestPushedK" && images.filter(isOfSame).length <= (rule.count ?? 0);
  };
  return images.filter(
    (image) =>
      rules.some((rule) => selectsRepository(rule, image)) &&
      !rules.some((rule) => isKept(image, rule)),
  );
}

function selects(rule: SelectingRule, image: PolicyImage): boolean {
  return (
    selectsRepository(rule, image) && rule.tags.every((selector) => selectsTag(selector, image.tag))
  );
}

function selectsRepository({ repositories }: SelectingRule, { repository }: PolicyImage): boolean {
  return repositories.every(
    ({ pattern, excludes }) => matchesDoublestar(pattern, repository) !== excludes,
  );
}

function selectsTag({ pattern, excludes, untagged }: Selector, tag: string | null): boolean {
  if (tag === null) return untagged !== excludes;
  return matchesDoublestar(pattern, tag) !== excludes;
}

/** Reads the selectors of a rule; other kinds than `doublestar` are passed over. */
export function readSelectors(rule: Reader): Pick<SelectingRule, "repositories" | "tags"> {
  return {
    repositories:
      rule.optionalObject("scope_selectors")?.list("repository").flatMap(readSelector) ?? [],
    tags: rule.list("tag_selectors").flatMap(readSelector),
  };
}

function readSelector(selector: Reader): readonly Selector[] {
  if ((selector.optionalText("kind") ?? "doublestar") !== "doublestar") return [];
  const decoration = selector.optionalText("decoration") ?? "matches";
  const excludes = decoration === "excludes" || decoration === "repoExcludes";
  const pattern = selector.optionalText("pattern") ?? "";
  return [{ pattern, excludes, untagged: readUntagged(selector, excludes) }];
}

/** `{"untagged":true}`, as a text; without it, selectors that match take untagged artifacts along. */
function readUntagged(selector: Reader, excludes: boolean): boolean {
  const extras = selector.optionalText("extras");
  if (extras === null) return !excludes;
  return /"untagged"\s*:\s*true/.test(extras);
}
