import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { formatReference } from "#reference";
import { addOn, OS_PACK, profileOf, readCluster } from "#test-support/cluster-files";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { readManifestImages } from "./pack-content.ts";
import { fileSource } from "./text-source.ts";

/** Reads an add-on's values; images come with the line and column of the values. */
function declared(values: string) {
  const { inputs, ...found } = readCluster({ "profile.yaml": profileOf(OS_PACK, addOn(values)) });
  const images = inputs.images.filter(({ pack }) => pack === "app");
  return {
    ...found,
    images: images.map(({ reference, place }) => {
      return `${formatReference(reference)} ${place.line - 12}:${place.column - 8}`;
    }),
    warnings: found.warnings.map(inValues),
    faults: found.faults.map(inValues),
  };
}

/** Values begin in line 13 and column 9 of the profile. */
function inValues(finding: string): string {
  return finding.replace(
    /^profile.yaml:(\d+):(\d+)/,
    (_, line, column) => `${line - 12}:${column - 8}`,
  );
}

function images(items: string): string {
  return `pack:\n  content:\n    images:\n${items}`;
}

describe("readDeclaredImages()", () => {
  test("reads every form that the public packs have", () => {
    const {
      images: read,
      faults,
      warnings,
    } = declared(
      images(
        [
          "- image: quay.io/dell/a:v2.16.0   ",
          '- image: "public.ecr.aws/x/b:1"',
          "- image: 'appdynamics/c:23.6.0-780'",
          "#- image: quay.io/never/d:1",
          "#      - image: quay.io/never/e:1",
          "- image: busybox:1.37 # a comment",
          "- image: docker.io/curlimages/curl",
          "- image: container://us-docker.pkg.dev/p/stylus:v4.6.13",
          "- reg.example.com:5000/bare:1",
        ]
          .join("\n    ")
          .replace(/^/, "    "),
      ),
    );
    expect(read).toEqual([
      "quay.io/dell/a:v2.16.0 4:7",
      "public.ecr.aws/x/b:1 5:7",
      "docker.io/appdynamics/c:23.6.0-780 6:7",
      "docker.io/library/busybox:1.37 9:7",
      "docker.io/curlimages/curl:latest 10:7",
      "us-docker.pkg.dev/p/stylus:v4.6.13 11:7",
      "reg.example.com:5000/bare:1 12:7",
    ]);
    expect([faults, warnings]).toEqual([[], []]);
  });

  test.each([
    ["a misspelt key", "    - iamge: a.io/b:1\n", "4:7 key-unknown"],
    ["a key that is nothing like it", "    - img: a.io/b:1\n", "4:7 key-unknown"],
    ["a further key", "    - image: a.io/b:1\n      tag: 2\n", "5:7 key-unknown"],
    ["an empty entry", "    -\n", "4:6 image-empty"],
    ["an entry without a value", "    - image:\n", "4:13 image-empty"],
  ])("warns of %s, or the image would be lost", (_, items, warning) => {
    expect(declared(images(items))).toMatchObject({ warnings: [warning], faults: [] });
  });

  test.each([
    ["misspelt content", "pack:\n  contnet: {images: [a]}\n", "2:3 key-unknown"],
    ["misspelt images", "pack:\n  content: {image: [a]}\n", "2:13 key-unknown"],
    ["a misspelt pack", "pakc: {content: {images: [a]}}\n", "1:1 key-unknown"],
  ])("warns of %s", (_, values, warning) => {
    expect(declared(values)).toMatchObject({ images: [], warnings: [warning], faults: [] });
  });

  test("says nothing of other keys, which belong to Palette or to the chart", () => {
    const values =
      "pack:\n  namespace: x\n  spectrocloud.com/install-priority: '0'\n  content:\n    namespace: y\n    charts: [{repository: oci://a.io/b}]\ncharts: {}\nglobal: {}\nreadinessCheck: {}\n";
    expect(declared(values)).toMatchObject({ warnings: [], faults: [] });
  });

  test.each([
    ["upper case", "    - image: quay.io/Team/app:1\n", "4:22 reference-invalid"],
    ["a bad tag", "    - image: quay.io/team/app:-1\n", "4:31 reference-invalid"],
    ["a bad digest", "    - image: quay.io/team/app@sha256:abc\n", "4:31 reference-invalid"],
    ["blanks inside", '    - image: "  quay.io/a b:1"\n', "4:25 reference-invalid"],
    ["an escape before it", '    - image: "quay.io/\\u0061/B:1"\n', "4:30 reference-invalid"],
    ["repository and tag", "    - image: {repository: a, tag: b}\n", "4:14 value-wrong-shape"],
    ["a list for an image", "    - [a.io/b:1]\n", "4:7 value-wrong-shape"],
    ["a mapping for the list", "      image: a\n", "4:7 value-wrong-shape"],
    ["a password", "    - image: https://u:hunter2@a.io/b:1\n", "4:32 reference-invalid"],
  ])("refuses %s at the very character", (_, items, fault) => {
    const { faults, shown } = declared(images(items));
    expect(faults).toEqual([fault]);
    expect(shown).not.toContain("hunter2");
  });
});

describe("readManifestImages()", () => {
  function read(text: string): readonly string[] {
    return readManifestImages(fileSource("m", text)).map(({ reference, place }) => {
      return `${formatReference(reference)} ${place.line}:${place.column}`;
    });
  }

  test("finds literal images in all forms that manifests have", () => {
    const text = [
      "      containers:",
      "      - image: ghcr.io/a/b:v1",
      "        name: b",
      '      - "image": "quay.io/c/d:1"',
      "      - name: e",
      "        image:   'busybox'   # comment",
      '      {"name": "x", "image":"proxyv2", "image": "r.io/z:2"}',
      "      -   - image: r.io/deep@sha256:".concat("a".repeat(64)),
      "      - {name: f, image: quay.io/f/g:1, command: [x]}",
      "      containers: [{image: 'quay.io/h/i:1'}, {name: j, image: k}]",
    ];
    expect(read(text.join("\r\n"))).toEqual([
      "ghcr.io/a/b:v1 2:16",
      "quay.io/c/d:1 4:19",
      "docker.io/library/busybox:latest 6:19",
      "docker.io/library/proxyv2:latest 7:30",
      "r.io/z:2 7:50",
      `r.io/deep@sha256:${"a".repeat(64)} 8:20`,
      "quay.io/f/g:1 9:26",
      "quay.io/h/i:1 10:29",
      "docker.io/library/k:latest 10:63",
    ]);
  });

  test.each([
    "image: {{ .Values.images.x }}",
    'image: "{{ .Values.repository }}:{{ .Values.tag }}"',
    "image: nginx{{ .Values.suffix }}",
    "image: quay.io/a/b:{{ .Values.tag }}",
    "# image: quay.io/a/b:1",
    "sidecarImage: quay.io/a/b:1",
    "imagePullPolicy: Always",
    "image:\n  repository: a",
    "image: |",
    "image: null",
    "image: true",
    "image: *anchor",
    "image: QUAY",
    "image: 'unclosed",
    "image:quay.io/a/b:1",
    "note: the pod, image: quay.io/a/b:1",
    "x: {} # {a, image: quay.io/a/b:1}",
    "{sidecarImage: quay.io/a/b:1}",
    "{image: {repository: a}}",
  ])("finds none in %j", (text) => expect(read(text)).toEqual([]));

  test("survives every text, and gives places in it", () => {
    const piece = fc.constantFrom(
      ...["image", ":", " ", "\n", '"', "'", "- ", "busybox", "quay.io/a:1", "{{", "}}", "#", "\t"],
      ...["image: ", '"image": "', ",", "[", "é", "\r\n", "@sha256:", "|", "*", "&", "$&"],
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const lines = pieces.join("").split("\n");
        for (const image of readManifestImages(fileSource("m", lines.join("\n")))) {
          const { line, column } = image.place;
          expect(lines[line - 1]?.slice(column - 1)).toMatch(/^[a-z]/);
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("ends for lines without number that are nearly images", () => {
    expect(
      read(
        `${" ".repeat(50_000)}\n${"- ".repeat(50_000)}\n${'"image"'.repeat(20_000)}\n${"{a, image".repeat(20_000)}`,
      ),
    ).toEqual([]);
  });
});
