import type { Answer } from "./transport.ts";

/**
 * Where the next page of a list is, as a path from `/v2/` on, or undefined after the last one: the
 * `Link` of relation `next`, relative or absolute, quoted or not, among several (C-130).
 *
 * A list never leads to another host, whatever it says: what is asked there would be in our name (SEC-8).
 * The scheme counts for nothing, for a registry behind a proxy that ends TLS does not know its own.
 */
export function nextPage({ headers, url }: Pick<Answer, "headers" | "url">): string | undefined {
  for (const [, target = "", parameters = ""] of links(headers.get("link") ?? "")) {
    if (!/;\s*rel\s*=\s*(?:"(?:[^"]*\s)?next(?:\s[^"]*)?"|next)\s*(?:;|$)/i.test(parameters))
      continue;
    const next = URL.canParse(target, url.href) ? new URL(target, url.href) : undefined;
    if (next?.host === url.host && next.pathname.startsWith("/v2/")) {
      return `${next.pathname}${next.search}`;
    }
  }
  return undefined;
}

/** Each `<target>; parameter; …` of the header; commas may stand within targets and quotes. */
function links(header: string): Iterable<RegExpMatchArray> {
  return header.matchAll(/<([^>]*)>((?:\s*;\s*[\w*]+(?:\s*=\s*(?:"[^"]*"|[^\s",;]+))?)*)/g);
}
