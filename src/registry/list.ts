import type { Page } from "#content";
import type { RepositoryPlace } from "./repository.ts";
import type { RepositoryRequest } from "./repository-request.ts";
import { type Answer, jsonAnswer, WireError } from "./wire.ts";

/** How many entries one page of a list has at most, whatever is asked for (SEC-9). */
const PAGE_MAX = 10_000;

/** One page of the tags, by `n` and `last` (S-8, S-26). */
export async function listTags({ repository, name, url }: RepositoryRequest): Promise<Answer> {
  return sendPage(
    url,
    async (page) => {
      const tags = await repository.tags(page);
      if (tags !== undefined) return tags;
      throw new WireError("NAME_UNKNOWN", "this registry has no such repository");
    },
    (tags) => ({ name, tags }),
  );
}

/** One page of the repositories that the caller may pull from, by `n` and `last` (S-27). */
export async function listRepositories(
  { repositories, catalog }: RepositoryPlace,
  url: URL,
  mayPull: (repository: string) => boolean,
): Promise<Answer> {
  const readPage = async ({ after = "", limit }: Page): Promise<readonly string[]> => {
    const delivered = (await catalog.keys()).filter((key) => key > after);
    const pushed = await repositories.list({ after, limit });
    return [...new Set([...delivered, ...pushed])].sort().slice(0, limit);
  };
  return sendPage(url, readPage, (names) => ({ repositories: names.filter(mayPull) }));
}

/** @param read gives up to `limit` names; one more than are sent tells whether there is a next page */
async function sendPage(
  url: URL,
  read: (page: Required<Page>) => Promise<readonly string[]>,
  documentOf: (names: readonly string[]) => object,
): Promise<Answer> {
  const count = url.searchParams.get("n") ?? String(PAGE_MAX);
  if (!/^\d+$/.test(count)) {
    throw new WireError("PAGINATION_NUMBER_INVALID", "n is not a whole number");
  }
  const limit = Math.min(Number(count), PAGE_MAX);
  const found = await read({ after: url.searchParams.get("last") ?? "", limit: limit + 1 });
  const names = found.slice(0, limit);
  const last = names.at(-1);
  if (last === undefined || names.length === found.length) return jsonAnswer(documentOf(names));
  return jsonAnswer(documentOf(names), 200, { link: nextLink(url, { last, n: String(limit) }) });
}

/** Where the next page is: the same query but for what is given. */
export function nextLink(url: URL, changes: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams(url.searchParams);
  for (const [key, value] of Object.entries(changes)) query.set(key, value);
  return `<${url.pathname}?${query}>; rel="next"`;
}
