/** Actions that can be joined in one scope; others may mean anything and are left as they are (C-18). */
const KNOWN_ACTIONS: ReadonlySet<string> = new Set(["pull", "push", "delete", "*"]);

/** A challenge that names more scopes than this is not believed. */
const SCOPES_MAX = 10;

/** The scope for reading one repository; the path is without the registry's host (C-18). */
export function pullScope(path: string): string {
  return `repository:${path}:pull`;
}

/** The scope for pushing to one repository, which takes reading it as well. */
export function pushScope(path: string): string {
  return `repository:${path}:pull,push`;
}

/** All scopes of both lists, in their order, the actions for one resource joined: `a:b:pull,push`. */
export function mergeScopes(
  challenged: readonly string[],
  wanted: readonly string[],
): readonly string[] {
  const actionsByResource = new Map<string, Set<string>>();
  const others = new Set<string>();
  for (const scope of [...challenged.slice(0, SCOPES_MAX), ...wanted]) {
    const colon = scope.lastIndexOf(":");
    const actions = scope.slice(colon + 1).split(",");
    if (colon <= 0 || !actions.every((action) => KNOWN_ACTIONS.has(action))) {
      others.add(scope);
      continue;
    }
    const resource = scope.slice(0, colon);
    const known = actionsByResource.get(resource) ?? new Set();
    for (const action of actions) known.add(action);
    actionsByResource.set(resource, known);
  }
  const merged = [...actionsByResource].map(
    ([resource, actions]) => `${resource}:${[...actions].join(",")}`,
  );
  return [...merged, ...others];
}
