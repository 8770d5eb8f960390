import { describe, expect, test } from "bun:test";
import type { Failure } from "#base";
import { type Descriptor, MANIFEST_BYTES_MAX, OCI_INDEX, referrersTag } from "#oci";
import type { Remote } from "#remote";
import { failureOf, manifest, remoteWith, signal, sourceAt } from "#test-support/remote-world";
import {
  contentOf,
  manifestOf,
  type ScriptedReply,
  type ScriptedRequest,
  startScriptedServer,
} from "#test-support/scripted-registry";

const SUBJECT = manifest.descriptor.digest;
const LIST = `/v2/team/app/referrers/${SUBJECT}`;
const FALLBACK = `/v2/team/app/manifests/${referrersTag(SUBJECT)}`;

/** Referrers that differ. */
const referrers = (count: number): readonly Descriptor[] =>
  Array.from({ length: count }, (_, i) => manifestOf(contentOf(`signature ${i}`)).descriptor);

const index = (
  manifests: unknown,
  headers: Readonly<Record<string, string>> = {},
): ScriptedReply => ({
  body: JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }),
  headers: { "Content-Type": OCI_INDEX, ...headers },
});

interface Asked {
  readonly found: readonly Descriptor[] | Failure;
  readonly paths: readonly string[];
  readonly notices: readonly string[];
}

/** What a registry of these answers is asked, and what comes of it. */
async function ask(
  answers: Readonly<Record<string, ScriptedReply>> | ((request: ScriptedRequest) => ScriptedReply),
  times = 1,
): Promise<Asked> {
  await using server = await startScriptedServer((request) =>
    typeof answers === "function" ? answers(request) : answers[request.path],
  );
  const notices: string[] = [];
  const remote: Remote = remoteWith({ onNotice: ({ message }) => notices.push(message) });
  const once = () => sourceAt(server.address, undefined, remote).referrers?.(SUBJECT, { signal });
  for (let i = 1; i < times; i += 1) await once();
  const asking = once() ?? Promise.reject(new Error("It has no referrers"));
  const found = await asking.catch(() => failureOf(asking));
  return { found, paths: server.requests.map(({ path }) => path), notices };
}

describe("a registry with a list of referrers", () => {
  test("gives all pages of it", async () => {
    const [a, b, c] = referrers(3);
    const { found, paths } = await ask({
      [LIST]: index([a], { Link: `<${LIST}?last=1>; rel="next"` }),
      [`${LIST}?last=1`]: index([b], { Link: `<?last=2>; rel=next` }),
      [`${LIST}?last=2`]: index([c]),
    });
    expect(found).toEqual([a, b, c] as readonly Descriptor[]);
    expect(paths).toEqual([LIST, `${LIST}?last=1`, `${LIST}?last=2`]);
  });

  test.each([[[]], [null]])("gives %p for nobody, and its tag is not asked for", async (nobody) => {
    const { found, paths } = await ask({ [LIST]: index(nobody) });
    expect(found).toEqual([]);
    expect(paths).toEqual([LIST]);
  });

  test("is followed to no other host", async () => {
    const [a] = referrers(1);
    const { found, paths } = await ask({
      [LIST]: index([a], { Link: '<https://evil.example/v2/x>; rel="next"' }),
    });
    expect(found).toEqual([a] as readonly Descriptor[]);
    expect(paths).toEqual([LIST]);
  });

  test("hides no entry behind one that is wrong or is no manifest", async () => {
    const [a, b] = referrers(2);
    const wrong = [
      { ...a, digest: "sha256:../../etc" },
      { ...a, digest: a?.digest.toUpperCase() },
      { ...a, size: -1 },
      { ...a, mediaType: "application/octet-stream" },
      "nothing",
      null,
    ];
    const { found } = await ask({ [LIST]: index([a, ...wrong, b]) });
    expect(found).toEqual([a, b] as readonly Descriptor[]);
  });

  const trouble: readonly (readonly [string, ScriptedReply])[] = [
    ["is denied", { status: 403 }],
    ["is a web page", { body: "<html>", headers: { "Content-Type": "text/html" } }],
    ["leads back to a page before", index([], { Link: `<${LIST}?last=1>; rel="next"` })],
  ];
  test.each(trouble)("gives what was read, and says so, when a later page %s", async (_, page) => {
    const [a] = referrers(1);
    const { found, notices } = await ask({
      [LIST]: index([a], { Link: `<${LIST}?last=1>; rel="next"` }),
      [`${LIST}?last=1`]: page,
    });
    expect(found).toEqual([a] as readonly Descriptor[]);
    expect(notices).toHaveLength(1);
    expect(notices[0]).toContain("is not all known");
  });

  test("without end is left after some pages", async () => {
    let page = 0;
    const { found, paths, notices } = await ask(() => {
      page += 1;
      return index(referrers(1), { Link: `<${LIST}?last=${page}>; rel="next"` });
    });
    expect(paths).toHaveLength(32);
    expect(found).toHaveLength(32);
    expect(notices[0]).toContain("does not end");
  });

  test("with more entries than an image has reason to have is cut off", async () => {
    const { found } = await ask({ [LIST]: index(referrers(1_001)) });
    expect(found).toHaveLength(1_000);
  });

  test("that is too large is refused before it is read whole", async () => {
    const { found } = await ask({
      [LIST]: { body: Buffer.alloc(MANIFEST_BYTES_MAX + 1, " "), headers: {} },
    });
    expect(found).toMatchObject({ code: "registry-protocol" });
  });

  test.each([400, 403])(
    "that answers %i is no registry without one: it fails, with its words",
    async (status) => {
      const { found, paths } = await ask({ [LIST]: { status } });
      expect(found).toMatchObject({ transient: false });
      expect(paths).toEqual([LIST]);
    },
  );
});

describe("a registry without a list of referrers", () => {
  const without: readonly (readonly [string, ScriptedReply])[] = [
    ["404", { status: 404 }],
    ["405", { status: 405 }],
    ["501", { status: 501 }],
    ["a web page", { body: "<html>", headers: { "Content-Type": "text/html" } }],
    ["JSON of another kind", { body: '{"manifests": 7}' }],
    ["an image", { body: manifest.bytes }],
    ["nothing", { body: "" }],
  ];
  test.each(without)("is asked for the fallback tag after %s", async (_, list) => {
    const [a, b] = referrers(2);
    const { found, paths } = await ask({ [LIST]: list, [FALLBACK]: index([a, b]) });
    expect(found).toEqual([a, b] as readonly Descriptor[]);
    expect(paths).toEqual([LIST, FALLBACK]);
  });

  test("gives nobody where there is no such tag, and is asked for the list only once", async () => {
    const { found, paths } = await ask({}, 3);
    expect(found).toEqual([]);
    expect(paths).toEqual([LIST, FALLBACK, FALLBACK, FALLBACK]);
  });

  test("says what is wrong when something else has the tag", async () => {
    const { found } = await ask({ [FALLBACK]: { body: manifest.bytes } });
    expect(found).toMatchObject({ code: "registry-protocol" });
    expect((found as Failure).message).toContain(referrersTag(SUBJECT));
  });
});

test("one missing list does not count against a registry that has given one", async () => {
  const [a] = referrers(1);
  let asked = 0;
  const { found, paths } = await ask(({ path }) => {
    if (path !== LIST) return { status: 404 };
    asked += 1;
    return asked === 2 ? { status: 404 } : index([a]);
  }, 3);
  expect(paths).toEqual([LIST, LIST, FALLBACK, LIST]);
  expect(found).toEqual([a] as readonly Descriptor[]);
});

test("a registry that is busy is asked again, but once only for who has little patience", async () => {
  let asked = 0;
  await using server = await startScriptedServer(() => {
    asked += 1;
    return asked === 1 ? { status: 503 } : index(referrers(1));
  });
  const source = sourceAt(server.address);
  const brief = source.referrers?.(SUBJECT, { signal, patience: "brief" });
  expect(await failureOf(brief ?? Promise.resolve())).toMatchObject({ transient: true });
  asked = 0;
  expect(await source.referrers?.(SUBJECT, { signal })).toHaveLength(1);
});
