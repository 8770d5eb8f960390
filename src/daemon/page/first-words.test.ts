import { expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { siteState } from "#test-support/page-states";
import { withFirstWords } from "./first-words.ts";
import { pageAssets } from "./page.ts";

const HTML = new TextDecoder().decode(pageAssets()[0]?.body);
const ME = { user: "anna", role: "read", login: "required" };

/** Texts and attributes of the elements with these ids, and the data, as a parser of HTML reads them. */
async function read(html: string) {
  const texts: Record<string, string> = {};
  const note = (id: string, text: string) => {
    texts[id] = (texts[id] ?? "") + text;
  };
  let level: string | null = null;
  let isRemedyHidden = true;
  let scripts = 0;
  const rewriter = new HTMLRewriter()
    .on("script", {
      element() {
        scripts += 1;
      },
    })
    .on("#verdict", {
      element(element) {
        level = element.getAttribute("data-level");
      },
    })
    .on("#remedy", {
      element(element) {
        isRemedyHidden = element.hasAttribute("hidden");
      },
    })
    .on("title", { text: ({ text }) => note("title", text) });
  for (const id of ["host", "level", "sentence", "remedy", "first-words"]) {
    rewriter.on(`#${id}`, { text: ({ text }) => note(id, text) });
  }
  await rewriter.transform(new Response(html)).text();
  const data = texts["first-words"];
  return {
    texts,
    level,
    isRemedyHidden,
    scripts,
    data: data === undefined ? null : JSON.parse(data),
  };
}

const SIGNS = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&" };
const unescaped = (text = "") =>
  text.replace(/&(?:lt|gt|quot|#39|amp);/g, (sign) => SIGNS[sign as keyof typeof SIGNS]);

test("the page says sentence, level, host and remedy before there is a script, and has the state", async () => {
  const verdict = {
    level: "wanting",
    sentence: "Two are wanting.",
    remedy: "Prove again",
  } as const;
  const state = siteState({ verdict });
  const { texts, level, isRemedyHidden, data } = await read(
    withFirstWords(HTML, { state, me: ME }),
  );
  expect(texts).toMatchObject({
    title: `Wanting · ${state.host} · Drayage`,
    ...{ host: state.host, level: "Wanting", sentence: "Two are wanting.", remedy: "Prove again" },
  });
  expect([level as string | null, isRemedyHidden]).toEqual(["wanting", false]);
  expect(data).toEqual(JSON.parse(JSON.stringify({ me: ME, state })));
});

test("without a remedy none is shown; without a state there is none in the page", async () => {
  const { isRemedyHidden } = await read(withFirstWords(HTML, { state: siteState(), me: ME }));
  expect(isRemedyHidden).toBe(true);
  const bare = await read(HTML);
  expect([bare.texts["sentence"], bare.data]).toEqual(["&nbsp;", null]);
});

test("whatever a state says is text, and its data are data", async () => {
  const { scripts } = await read(HTML);
  const nasty = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("</script><script>", "<!--<script>", "$& $` $1", "\u2028", '"><img src=x>'),
  );
  await fc.assert(
    fc.asyncProperty(nasty, nasty, nasty, async (sentence, remedy, host) => {
      const state = siteState({ host, verdict: { level: "failed", sentence, remedy } });
      const page = withFirstWords(HTML, { state, me: ME });
      const told = await read(page);
      expect(told.scripts).toBe(scripts + 1);
      const whole = (text: string) => text.toWellFormed().replace(/\r\n?/g, "\n");
      expect(whole(unescaped(told.texts["sentence"]))).toBe(whole(sentence));
      expect(whole(unescaped(told.texts["remedy"]))).toBe(whole(remedy));
      expect(told.data.state.host).toBe(JSON.parse(JSON.stringify(host)));
    }),
    { numRuns: FUZZ_RUNS },
  );
});
