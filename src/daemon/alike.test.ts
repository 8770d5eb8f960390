import { expect, test } from "bun:test";
import { alike, type ImageTrouble } from "./alike.ts";

const trouble = (image: string, more: Partial<ImageTrouble> = {}): ImageTrouble => ({
  ...{ image, registry: "quay.io", code: "registry-unreachable" },
  ...{ message: `Cannot fetch "${image}": nobody is there`, hint: "Mend it" },
  ...more,
});

test("trouble of one code and registry is told once, with how many images have it", () => {
  const other = { code: "registry-denied" };
  const told = alike([
    trouble("quay.io/a"),
    trouble("quay.io/b", other),
    trouble("quay.io/c"),
    trouble("ghcr.io/d", { registry: "ghcr.io" }),
  ]);
  expect(told).toEqual([
    {
      ...{ code: "registry-unreachable", hint: "Mend it", subject: "quay.io" },
      message: '2 images, the first of them: Cannot fetch "quay.io/a": nobody is there',
      images: ["quay.io/a", "quay.io/c"],
    },
    expect.objectContaining({ subject: "quay.io/b", code: "registry-denied" }),
    expect.objectContaining({
      subject: "ghcr.io/d",
      message: 'Cannot fetch "ghcr.io/d": nobody is there',
    }),
  ]);
});

test("what has one code for all is alike when it says the same of other images", () => {
  const stands = (image: string, hex: string) =>
    trouble(image, {
      message: `What was verified before (sha256:${hex.repeat(64)}) stands. Cannot fetch "${image}": down`,
    });
  const odd = trouble("quay.io/c", { message: "It is made for linux/arm64" });
  const told = alike([stands("quay.io/a", "a"), odd, stands("quay.io/b", "b")], "text");
  expect(told.map(({ subject, images }) => [subject, images.length])).toEqual([
    ["quay.io", 2],
    ["quay.io/c", 1],
  ]);
});

test("one image with the same trouble twice is one image", () => {
  const [told] = alike([trouble("quay.io/a"), trouble("quay.io/a")]);
  expect(told).toMatchObject({ subject: "quay.io/a", images: ["quay.io/a"] });
});
