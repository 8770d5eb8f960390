import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { nextPage } from "./next-page.ts";

const url = new URL("https://registry.example:5000/v2/team/app/tags/list?n=2");
const next = (link: string) => nextPage({ url, headers: new Headers({ link }) });
const PAGE = "/v2/team/app/tags/list?last=b&n=2";

test.each([
  ["a path", `<${PAGE}>; rel="next"`],
  ["a path without quotes", `<${PAGE}>; rel=next`],
  ["the whole address", `<https://registry.example:5000${PAGE}>; rel="next"`],
  [
    "an address of the wrong scheme, behind a proxy",
    `<http://registry.example:5000${PAGE}>; rel=next`,
  ],
  ["a query alone", '<?last=b&n=2>; rel="next"'],
  ["one of several", `</v2/x>; rel="prev", <${PAGE}>; title="a, b"; rel="next", </v2/y>; rel=last`],
  ["of several relations", `<${PAGE}>; rel="next last"`],
  ["in capitals", `<${PAGE}>; REL="Next"`],
])("a next page is found: %s", (_, link) => {
  expect(next(link)).toBe(PAGE);
});

test.each([
  ["nothing is said", ""],
  ["another relation", `<${PAGE}>; rel="prev"`],
  ["a word that only holds it", `<${PAGE}>; rel="nextish"`],
  ["another host", `<https://evil.example${PAGE}>; rel="next"`],
  ["another port", `<https://registry.example:5001${PAGE}>; rel="next"`],
  ["another host in short", `<//evil.example${PAGE}>; rel="next"`],
  ["what is no path of a registry", '</admin/delete>; rel="next"'],
  ["dots that lead out", '</v2/../admin>; rel="next"'],
  ["another kind of address", '<file:///v2/passwd>; rel="next"'],
  ["no brackets", `${PAGE}; rel="next"`],
])("a list ends where it gives %s", (_, link) => {
  expect(next(link)).toBeUndefined();
});

test("whatever a header holds, it leads to this registry or nowhere", () => {
  const word = fc.constantFrom(
    "https:",
    "//",
    "/v2/",
    "/",
    "..",
    "evil",
    "registry.example:5000",
    "@",
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 8 }), (words) => {
      const path = next(`<${words.join("")}>; rel="next"`);
      if (path === undefined) return;
      expect(path).toStartWith("/v2/");
      expect(new URL(path, url).host).toBe(url.host);
    }),
    { numRuns: FUZZ_RUNS },
  );
});
