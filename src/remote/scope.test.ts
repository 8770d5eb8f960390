import { expect, test } from "bun:test";
import { mergeScopes } from "./scope.ts";

test("mergeScopes() keeps the challenge's order and joins the actions of one repository (C-18, C-19)", () => {
  expect(mergeScopes(["repository:b:pull", "repository:a:push"], ["repository:a:pull"])).toEqual([
    "repository:b:pull",
    "repository:a:push,pull",
  ]);
});

test("mergeScopes() joins no action that it does not know, and believes no endless list", () => {
  expect(mergeScopes(["registry:catalog:list", "odd"], ["repository:a:pull"])).toEqual([
    "repository:a:pull",
    "registry:catalog:list",
    "odd",
  ]);
  const many = Array.from({ length: 100 }, (_, i) => `repository:r${i}:pull`);
  expect(mergeScopes(many, ["repository:a:pull"])).toHaveLength(11);
});
