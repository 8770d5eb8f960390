import type { SiteState } from "../state.ts";

/** What a page is told by the answer that brings it. */
export interface FirstWords {
  readonly state: SiteState;
  /** As `/api/v1/me` has it. */
  readonly me: unknown;
}

/**
 * The page with the sentence about the site in it, so that the first thing a slow tablet paints is what a
 * reader came for, and with the state as data, so that the scripts need not ask before they go on. Only for
 * who may read the state.
 *
 * @param html the page as it is without a state
 */
export function withFirstWords(html: string, { state, me }: FirstWords): string {
  const { verdict, host } = state;
  const { level, sentence, remedy } = verdict;
  const levelWord = `${level.charAt(0).toUpperCase()}${level.slice(1)}`;
  let page = html;
  for (const [empty, told] of [
    ["<title>Drayage</title>", `<title>${escaped(`${levelWord} · ${host} · Drayage`)}</title>`],
    ['<p class="host" id="host"></p>', `<p class="host" id="host">${escaped(host)}</p>`],
    ['data-level="starting"', `data-level="${escaped(level)}"`],
    ['id="level">Asking the agent<', `id="level">${escaped(levelWord)}<`],
    ['id="sentence">&nbsp;<', `id="sentence">${escaped(sentence)}<`],
    ["</body>", `${dataBlock({ me, state })}</body>`],
    ...(remedy === null ? [] : [['id="remedy" hidden><', `id="remedy">${escaped(remedy)}<`]]),
  ] as const) {
    // Not as a pattern: `$` in a sentence is a dollar.
    page = page.replace(empty, () => told);
  }
  return page;
}

/** Data, which no browser runs. Nothing in it ends the element, or looks like the start of a comment. */
function dataBlock(data: unknown): string {
  const json = JSON.stringify(data).replaceAll("<", "\\u003c");
  return `<script type="application/json" id="first-words">${json}</script>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  ...{ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" },
};

/** Words of a registry or of a profile are text, whatever is in them. */
function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => ENTITIES[sign] ?? "");
}
