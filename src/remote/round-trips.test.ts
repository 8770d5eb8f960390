import { describe, expect, test } from "bun:test";
import { ANONYMOUS } from "#credential";
import { OCI_INDEX } from "#oci";
import { createDeliverySite, incompleteNames } from "#test-support/delivery-site";
import { BASIC, basicChallenge, remoteWith, user } from "#test-support/remote-world";
import {
  contentOf,
  manifestOf,
  type Script,
  type ScriptedContent,
  type ScriptedReply,
  type ScriptedRequest,
  servedContent,
  startScriptedServer,
} from "#test-support/scripted-registry";

/** An index for one platform over an image with one layer. */
function imageOf(text: string) {
  const config = contentOf("{}", "application/vnd.oci.image.config.v1+json");
  const layer = contentOf(text);
  const manifest = manifestOf(layer);
  const child = { ...manifest.descriptor, platform: { os: "linux", architecture: "amd64" } };
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [child] };
  const root = contentOf(JSON.stringify(index), OCI_INDEX);
  return { root, all: [root, manifest, config, layer] };
}

type Image = ReturnType<typeof imageOf>;

/** A registry with repositories of one tag each, `v1`; asked for by what stands behind `/v2/`. */
function registryOf(images: ReadonlyMap<string, Image>): Script {
  return ({ path }) => {
    const [, name = "", , reference] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)$/.exec(path) ?? [];
    const image = images.get(name);
    const found = image?.all.find(({ descriptor }) => descriptor.digest === reference);
    const content: ScriptedContent | undefined = reference === "v1" ? image?.root : found;
    return content && servedContent(content);
  };
}

/** Every repository wants a token of its own, of the registry's own service. */
function withTokens(serve: Script): Script {
  return (request, number) => {
    const [, query] = request.path.split("/token?");
    const scope = new URLSearchParams(query).get("scope") ?? "";
    if (query !== undefined) return { body: JSON.stringify({ token: tokenFor(scope) }) };
    const [, name] = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(request.path) ?? [];
    const wanted = `repository:${name}:pull`;
    if (request.headers["authorization"] === `Bearer ${tokenFor(wanted)}`)
      return serve(request, number);
    const challenge = `Bearer realm="/token",service="reg",scope="${wanted}"`;
    return { status: 401, headers: { "WWW-Authenticate": challenge } };
  };
}

function tokenFor(scope: string): string {
  return Buffer.from(scope).toString("hex");
}

function withPassword(serve: Script): Script {
  return (request, number): ScriptedReply | undefined =>
    request.headers["authorization"] === BASIC ? serve(request, number) : basicChallenge;
}

/** A site that delivers what a registry of this kind has; attachments are asked for beside blobs. */
async function openSite(names: readonly string[], guard = (serve: Script) => serve) {
  const images = new Map(names.map((name) => [name, imageOf(`layer of ${name}`)]));
  const registry = await startScriptedServer(guard(registryOf(images)));
  const site = createDeliverySite();
  const access = guard === withPassword ? { ...user, origin: null } : ANONYMOUS;
  const remote = remoteWith();
  let seen = 0;
  return {
    ...{ images, registry, store: site.store },
    /** Delivers all images with what the process knows already, and gives the requests of that. */
    async deliver(): Promise<readonly ScriptedRequest[]> {
      seen = registry.requests.length;
      const { summary } = await site.run(
        { application: names.map((name) => `${registry.address}/${name}:v1`) },
        { attachments: "never", openSource: ({ source }) => remote.repository(source, access) },
      );
      expect(summary.failures).toEqual([]);
      expect(await incompleteNames(site.store)).toEqual([]);
      return registry.requests.slice(seen);
    },
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

/** What was asked of a repository, without digests: `GET manifests/v1`. */
function told(requests: readonly ScriptedRequest[]): readonly string[] {
  return requests.map(({ method, path }) => {
    const [, kind = path.split("?")[0], reference] =
      /\/(manifests|blobs)\/([^/?]+)$/.exec(path) ?? [];
    return `${method} ${kind}${reference === "v1" ? "/v1" : ""}`;
  });
}

const refused = (requests: readonly ScriptedRequest[]) =>
  requests.filter(({ path, headers }) => {
    return path.startsWith("/v2/") && headers["authorization"] === undefined;
  });

const MANY = Array.from({ length: 8 }, (_, i) => `team/app-${i}`);

describe("an image that the site does not have", () => {
  test("takes one request for its root, and each of its manifests and blobs one", async () => {
    await using site = await openSite(["team/app"]);
    expect(told(await site.deliver())).toEqual([
      "GET manifests/v1",
      "GET manifests",
      "GET blobs",
      "GET blobs",
    ]);
  });

  test("of a registry with tokens takes two more: the challenge and the token", async () => {
    await using site = await openSite(["team/app"], withTokens);
    expect(told(await site.deliver())).toEqual([
      "GET manifests/v1",
      "GET /token",
      "GET manifests/v1",
      "GET manifests",
      "GET blobs",
      "GET blobs",
    ]);
  });

  test("of a registry with a password takes one more: the challenge", async () => {
    await using site = await openSite(["team/app"], withPassword);
    expect(told(await site.deliver()).slice(0, 3)).toEqual([
      "GET manifests/v1",
      "GET manifests/v1",
      "GET manifests",
    ]);
  });
});

describe("an image that the site has", () => {
  test("takes one HEAD, and what has moved is asked for by digest", async () => {
    await using site = await openSite(["team/app"]);
    await site.deliver();
    expect(told(await site.deliver())).toEqual(["HEAD manifests/v1"]);
    site.images.set("team/app", imageOf("a newer layer"));
    const moved = await site.deliver();
    expect(told(moved)).toEqual([
      "HEAD manifests/v1",
      "GET manifests",
      "GET manifests",
      "GET blobs",
    ]);
    expect(told(await site.deliver())).toEqual(["HEAD manifests/v1"]);
  });
});

describe("many images of one registry", () => {
  test("are asked for without a token once, and each repository for one token", async () => {
    await using site = await openSite(MANY, withTokens);
    const requests = await site.deliver();
    expect(refused(requests)).toHaveLength(1);
    expect(told(requests).filter((request) => request === "GET /token")).toHaveLength(MANY.length);
    // The config is the same one for all of them.
    expect(requests).toHaveLength(1 + MANY.length * (1 + 3) + 1);
  });

  test("are asked for without the password once", async () => {
    await using site = await openSite(MANY, withPassword);
    const requests = await site.deliver();
    expect(refused(requests)).toHaveLength(1);
    expect(requests).toHaveLength(1 + MANY.length * 3 + 1);
  });
});
