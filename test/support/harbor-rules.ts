/** Whether a rule of a project, as the API shows it, is about a tag of a repository. */
export function matchesRule(rule: object, repository: string, tag: string): boolean {
  const { disabled, scope_selectors, tag_selectors } = Object(rule);
  const selects = (selectors: unknown, name: string) =>
    (Array.isArray(selectors) ? selectors : []).every(({ decoration, pattern }) => {
      const isExcluding = String(decoration).toLowerCase().includes("excludes");
      return new Bun.Glob(String(pattern)).match(name) !== isExcluding;
    });
  return (
    !disabled && selects(scope_selectors?.repository, repository) && selects(tag_selectors, tag)
  );
}

/** A rule as the API shows it. */
export function ruleOf(
  id: number,
  { repository, tag, ...more }: { repository: string; tag: string; [name: string]: unknown },
): object {
  return {
    ...{ id, disabled: false, priority: 0, ...more },
    tag_selectors: [{ kind: "doublestar", decoration: "matches", pattern: tag }],
    scope_selectors: {
      repository: [{ kind: "doublestar", decoration: "repoMatches", pattern: repository }],
    },
  };
}
