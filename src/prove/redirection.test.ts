import { expect, test } from "bun:test";
import type { SiteRegistries } from "#prove";
import type { FollowedEndpoint } from "#redirect";
import { planOf } from "#test-support/delivery-site";
import { judgeRedirection } from "./redirection.ts";

const [image] = planOf({ application: ["quay.io/team/app:1"] }).stages[2]?.images ?? [];

function judge(...urls: readonly string[]) {
  if (image === undefined) throw new Error("The plan has no image");
  const endpoints = urls.map((url): FollowedEndpoint => {
    return { url, isUpstream: false, skipVerify: false, authorities: [] };
  });
  const registries: SiteRegistries = {
    roleOf: ({ url }) => (url.includes("local") ? "local" : "embedded"),
    wayOf: () => {
      throw new Error("Nobody is asked");
    },
    directWay: () => undefined,
  };
  return judgeRedirection(image, { endpoints }, registries, ["local", "embedded"], "containerd");
}

test("a login that somebody wrote into the URL of a mirror is not told, whatever is in it", () => {
  const { redirection } = judge(
    "https://u:hunter2@local.test/v2/",
    "http://u:p@hunter2@embedded.test/v2/a@sha256:0",
  );
  expect(redirection.asks.map(({ url }) => url)).toEqual([
    "https://local.test/v2/",
    "http://embedded.test/v2/a@sha256:0",
  ]);
});

test("the local registry is to be asked before the embedded one, and both are", () => {
  const codes = (...urls: readonly string[]) => judge(...urls).problems.map(({ code }) => code);
  expect(codes("https://local/", "https://embedded/")).toEqual([]);
  expect(codes("https://embedded/", "https://local/")).toEqual(["redirection-order"]);
  expect(codes("https://local/")).toEqual(["not-redirected"]);
});
