import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isFailure } from "#base";
import { digestOf } from "#content";
import { FUZZ_RUNS } from "#test-support/fuzz";
import {
  FILES_MAX,
  type InputFile,
  PLAIN_FILE,
  PROFILE_YAML,
  readManifest,
  SITE_ARTIFACT,
  USER_DATA,
  writeArtifact,
} from "./artifact.ts";
import { isSafePath, resolveInside } from "./artifact-path.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const PROFILE: InputFile = { path: "profile.yaml", role: "profile", bytes: bytesOf("a: 1") };
const TITLE = "org.opencontainers.image.title";

type Json = Record<string, unknown>;

/** The manifest of one profile, as somebody changed it. */
function manifestWith(change: (manifest: Json, layer: Json) => void): Uint8Array {
  const { manifest } = writeArtifact([PROFILE]);
  const json = JSON.parse(new TextDecoder().decode(manifest.bytes)) as Json;
  const [layer] = json["layers"] as Json[];
  change(json, layer ?? {});
  return bytesOf(JSON.stringify(json));
}

/** The manifest of one profile with other fields in it, or in its layer. */
const changed = (fields: Json) => manifestWith((json) => Object.assign(json, fields));
const changedLayer = (fields: Json) => manifestWith((_, layer) => Object.assign(layer, fields));

function refusal(manifest: Uint8Array): string {
  try {
    readManifest(manifest);
  } catch (error) {
    if (isFailure(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "none";
}

const part = fc.stringMatching(/^[a-zA-Z0-9._ äß-]{1,12}$/).filter((text) => !/^\.+$/.test(text));
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
const plain: fc.Arbitrary<InputFile> = fc.record({
  path: path.map((text) => `files/${text}`),
  role: fc.constant("file" as const),
  bytes: fc.uint8Array({ maxLength: 60 }),
});

describe("an artifact", () => {
  test("holds the files that it was made of, and is the same in whatever order they come", () => {
    const files = fc.uniqueArray(plain, {
      maxLength: 8,
      comparator: (a, b) => a.path.startsWith(b.path) || b.path.startsWith(a.path),
    });
    fc.assert(
      fc.property(files, fc.infiniteStream(fc.nat()), (others, order) => {
        const all = [PROFILE, ...others];
        const written = writeArtifact(all, { version: "1.2.3" });
        const shuffled = all.toSorted(() => ((order.next().value ?? 0) % 3) - 1);
        expect(writeArtifact(shuffled, { version: "1.2.3" }).manifest).toEqual(written.manifest);
        const { files: listed } = readManifest(written.manifest.bytes);
        expect(JSON.parse(new TextDecoder().decode(written.manifest.bytes)).annotations).toEqual({
          "org.opencontainers.image.version": "1.2.3",
        });
        const blobs = new Map(written.blobs.map((blob) => [blob.descriptor.digest, blob.bytes]));
        const read = listed.map((file) => ({
          path: file.path,
          role: file.role,
          bytes: blobs.get(file.descriptor.digest) ?? bytesOf("missing"),
        }));
        expect(new Set(read)).toEqual(new Set(all));
        for (const { descriptor, bytes } of written.blobs) {
          expect([descriptor.digest, descriptor.size]).toEqual([digestOf(bytes), bytes.byteLength]);
        }
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("is what the documentation says, byte for byte", () => {
    const userData: InputFile = {
      path: "user-data.yaml",
      role: "user-data",
      bytes: bytesOf("#cloud-config\n"),
    };
    const created = "2026-01-02T03:04:05Z";
    const { manifest } = writeArtifact([userData, PROFILE], { version: "1.4.0", created });
    expect(JSON.parse(new TextDecoder().decode(manifest.bytes))).toEqual({
      schemaVersion: 2,
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      artifactType: SITE_ARTIFACT,
      config: {
        mediaType: "application/vnd.oci.empty.v1+json",
        digest: "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        size: 2,
      },
      layers: [
        {
          mediaType: PROFILE_YAML,
          digest: digestOf(PROFILE.bytes),
          size: 4,
          annotations: { [TITLE]: "profile.yaml" },
        },
        {
          mediaType: USER_DATA,
          digest: digestOf(userData.bytes),
          size: 14,
          annotations: { [TITLE]: "user-data.yaml" },
        },
      ],
      annotations: {
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.version": "1.4.0",
      },
    });
  });

  test("names neither time nor version that it was not given", () => {
    const text = new TextDecoder().decode(writeArtifact([PROFILE]).manifest.bytes);
    expect(text).not.toContain("image.created");
    expect(text).not.toContain("image.version");
  });

  test("may be of the type of its config, as registries of before OCI 1.1 know it", () => {
    const manifest = manifestWith((json) => {
      delete json["artifactType"];
      json["config"] = { ...(json["config"] as Json), mediaType: SITE_ARTIFACT };
    });
    expect(refusal(manifest)).toBe("none");
  });
});

describe("an artifact of somebody else is refused", () => {
  const layerAt = (title: string) =>
    manifestWith((_, layer) => {
      layer["annotations"] = { [TITLE]: title };
    });
  const layersOf = (titles: readonly string[]) =>
    manifestWith((json, layer) => {
      json["layers"] = [
        layer,
        ...titles.map((title) => ({
          ...layer,
          mediaType: PLAIN_FILE,
          annotations: { [TITLE]: title },
        })),
      ];
    });
  const cases: readonly (readonly [why: string, manifest: Uint8Array, found: string])[] = [
    ["of another kind", changed({ artifactType: "text/x" }), 'its type is "text/x"'],
    ["that is an image", manifestWith((json) => delete json["artifactType"]), "its type is"],
    ["that is an index", bytesOf('{"schemaVersion":2,"manifests":[]}'), "it is an index"],
    [
      "without a profile",
      changedLayer({ mediaType: "text/plain" }),
      "none of its files is a cluster profile",
    ],
    ["without files", changed({ layers: [] }), "none of its files"],
    [
      "with a file without a path",
      manifestWith((_, layer) => delete layer["annotations"]),
      `layer 1 has no ${TITLE}`,
    ],
    ["with a file above it", layerAt("../../etc/passwd"), 'a file at "../../etc/passwd"'],
    ["with an absolute path", layerAt("/etc/passwd"), 'a file at "/etc/passwd"'],
    ["with a path of Windows", layerAt("C:\\boot"), "a file at"],
    ["with an empty path", layerAt(""), 'a file at ""'],
    ["with a control character in a path", layerAt("a\u001b[2J"), 'a file at "a\\u001b[2J"'],
    [
      "with two files at one path",
      layersOf(["profile.yaml"]),
      'two of its files are at "profile.yaml"',
    ],
    [
      "with a file that is a folder too",
      layersOf(["packs", "packs/a"]),
      'two of its files are at "packs"',
    ],
    [
      "with too many files",
      layersOf(Array.from({ length: FILES_MAX }, (_, i) => `f${i}`)),
      "it has 1001 files",
    ],
    ["with a file that is too large", changedLayer({ size: 17e6 }), '"profile.yaml" has 17.0 MB'],
    [
      "that is too large as a whole",
      manifestWith((json, layer) => {
        json["layers"] = [1, 2, 3, 4, 5].map((i) => ({
          ...layer,
          size: 16e6,
          annotations: { [TITLE]: `p${i}.yaml` },
        }));
      }),
      "it has 80",
    ],
    [
      "with a folder that oras packed",
      manifestWith((_, layer) => {
        layer["annotations"] = { [TITLE]: "packs", "io.deis.oras.content.unpack": "true" };
      }),
      '"packs" is a packed folder',
    ],
    [
      "with a type of a newer version",
      changedLayer({ mediaType: "application/vnd.drayage.profile.v2+yaml" }),
      "profile.v2+yaml",
    ],
    [
      "with user data twice",
      manifestWith((json, layer) => {
        json["layers"] = [
          layer,
          ...["a", "b"].map((title) => ({
            ...layer,
            mediaType: USER_DATA,
            annotations: { [TITLE]: title },
          })),
        ];
      }),
      "it has user data twice",
    ],
  ];

  test.each(cases)("%s", (_, manifest, found) => {
    const refused = refusal(manifest);
    expect(refused).toStartWith("artifact-invalid: Cannot use the site artifact: ");
    expect(refused).toContain(found);
  });

  test("whatever its bytes are, and never with anything but a Failure", () => {
    const value = fc.jsonValue();
    const json = fc.record(
      {
        schemaVersion: fc.constant(2),
        artifactType: fc.constant(SITE_ARTIFACT),
        config: value,
        layers: value,
        annotations: value,
      },
      { requiredKeys: ["schemaVersion"] },
    );
    fc.assert(
      fc.property(fc.oneof(value, json), (document) => {
        expect(refusal(bytesOf(JSON.stringify(document)))).not.toBe("none");
      }),
      { numRuns: FUZZ_RUNS },
    );
  });
});

describe("a path", () => {
  test("that is safe stays inside wherever it is written", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(part, fc.constantFrom("..", ".", "")), { maxLength: 6 }),
        (parts) => {
          const text = parts.join("/");
          if (isSafePath(text)) expect(resolveInside(text)).toBe(text);
          expect(resolveInside(text)?.split("/") ?? []).not.toContain("..");
        },
      ),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("leads out when it goes up too far", () => {
    expect(["a/../b", "a/../../b", "..", "./a//b"].map(resolveInside)).toEqual([
      "b",
      undefined,
      undefined,
      "a/b",
    ]);
  });
});
