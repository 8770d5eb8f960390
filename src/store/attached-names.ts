import { type Digest, referrersTag, subjectTagOf } from "#oci";
import type { Root } from "./mark.ts";

/**
 * Of names that no plan declares, those that stay all the same: signatures and whatever else belongs to a
 * live digest by the form of its tag, beside a name of the same repository that stays. Their own content
 * is live then, and others may belong to that.
 *
 * @param live what the names that stay lead to
 */
export function attachedTo(
  live: ReadonlySet<Digest>,
  staying: readonly Root[],
  undeclared: readonly Root[],
): readonly Root[] {
  const candidates = undeclared.flatMap((root) => {
    const { repository, tag } = splitName(root.name);
    const subjectTag = tag === undefined ? undefined : subjectTagOf(tag);
    return subjectTag === undefined ? [] : [{ root, repository, subjectTag }];
  });
  if (candidates.length === 0) return [];
  const repositories = new Set(staying.map(({ name }) => splitName(name).repository));
  const subjectTags = new Set([...live].map(referrersTag));
  return candidates
    .filter((each) => repositories.has(each.repository) && subjectTags.has(each.subjectTag))
    .map(({ root }) => root);
}

/** `repository:tag`. A name that is pinned to a digest is an image's, and none of these. */
function splitName(name: string): { readonly repository: string; readonly tag?: string } {
  const at = name.indexOf("@");
  const named = at === -1 ? name : name.slice(0, at);
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  if (colon === -1) return { repository: named };
  const repository = named.slice(0, colon);
  return at === -1 ? { repository, tag: named.slice(colon + 1) } : { repository };
}
