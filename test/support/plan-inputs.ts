import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Findings } from "#base";
import { type DockerCredentials, makePlan, type Plan, type PlannedImage } from "#plan";
import { type InputFiles, type InputNames, readClusterInputs } from "#profile";
import { formatReference } from "#reference";
import { createMemoryFiles } from "#test-support/memory-files";

type Mapping = Readonly<Record<string, unknown>>;

/** A pack as a test thinks of it; its values are written into the profile as YAML in a string. */
export interface PackSketch {
  readonly name: string;
  readonly layer: "os" | "k8s" | "cni" | "csi" | "addon";
  readonly images?: readonly string[];
  /** Further values of the pack. */
  readonly values?: Mapping;
  /** Contents of its manifests. */
  readonly manifests?: readonly string[];
}

/** All that people write about a cluster, as data. */
export interface ClusterSketch {
  /** The packs of the one profile `store.json`. */
  readonly packs?: readonly PackSketch[];
  /** Further profiles, by file. */
  readonly profiles?: Readonly<Record<string, readonly PackSketch[]>>;
  /** What stands below `stylus:` in `user-data.yaml`. */
  readonly stylus?: Mapping;
  /** `site.yaml` below its two fixed lines. */
  readonly site?: Mapping;
  /** The lines of a file given with `--images`. */
  readonly images?: readonly string[];
  /** Further files, such as passwords. */
  readonly files?: Readonly<Record<string, string>>;
}

/** The provider image of the requirements, which is that of {@link OS} too. */
export const PROVIDER_IMAGE = "quay.io/kairos/core-ubuntu-20-lts-rke2:v1.25.2-rke2r1";

/** An OS pack that names a provider image, with `providerCredentials` if there are any. */
export function osPack(uri: string, providerCredentials?: Mapping): PackSketch {
  const credentials = providerCredentials === undefined ? {} : { providerCredentials };
  return {
    name: "edge-native-byoi",
    layer: "os",
    values: { options: { "system.uri": uri }, ...credentials },
  };
}

export const OS: PackSketch = osPack(PROVIDER_IMAGE);

/** An application pack. */
export function app(name: string, ...images: readonly string[]): PackSketch {
  return { name, layer: "addon", images };
}

/** The manifest of a registry Secret. */
export function registrySecret(name: string, stringData: Mapping): string {
  const labels = { "spectrocloud.com/registry": "true" };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, labels },
    stringData,
  });
}

/** Writes the sketch as files, reads them as the program does, and plans. */
export function planCluster(sketch: ClusterSketch, docker?: DockerCredentials): Plan {
  const { names, files } = writeCluster(sketch);
  return planFiles(names, files, docker);
}

/** The sketch as the files that people would have written, and what they would name on the command line. */
export function writeCluster(sketch: ClusterSketch): {
  readonly names: InputNames;
  readonly files: InputFiles;
} {
  const { packs, stylus, site, images } = sketch;
  const profiles = { ...(packs === undefined ? {} : { "store.json": packs }), ...sketch.profiles };
  const contents = {
    ...Object.fromEntries(Object.entries(profiles).map(profileFile)),
    ...(stylus === undefined ? {} : { "user-data.yaml": `#cloud-config\n${pretty({ stylus })}` }),
    ...(site === undefined
      ? {}
      : { "site.yaml": pretty({ apiVersion: "drayage/v1", kind: "Site", ...site }) }),
    ...(images === undefined ? {} : { "images.txt": images.join("\n") }),
    ...sketch.files,
  };
  const names = {
    profiles: Object.keys(profiles),
    ...(stylus === undefined ? {} : { userData: "user-data.yaml" }),
    ...(site === undefined ? {} : { site: "site.yaml" }),
    ...(images === undefined ? {} : { images: ["images.txt"] }),
  };
  return { names, files: createMemoryFiles(contents) };
}

/** Reads the files that are named, and plans. */
export function planFiles(names: InputNames, files: InputFiles, docker?: DockerCredentials): Plan {
  const findings = new Findings();
  return makePlan(readClusterInputs(names, files, findings), findings, docker);
}

/** The sample cluster of `test/fixtures/edge-rke2`, its files named as from within that folder. */
export function planSample(userData: string): Plan {
  return planFiles({ profiles: ["profile.yaml"], userData }, sampleFiles());
}

/** The files of the sample cluster. */
export function sampleFiles(): InputFiles {
  const folder = join(import.meta.dir, "../fixtures/edge-rke2");
  return {
    read: (path) => new Uint8Array(readFileSync(join(folder, path))),
    list: (path) => {
      try {
        return readdirSync(join(folder, path)).sort();
      } catch {
        return { code: "input-missing", message: "it does not exist" };
      }
    },
  };
}

/** Every image of a plan, stage after stage. */
export function imagesOf(plan: Plan): readonly PlannedImage[] {
  return plan.stages.flatMap(({ images }) => images);
}

/** The one image of the plan that is declared by this normalised reference. */
export function imageOf(plan: Plan, declared: string): PlannedImage {
  const found = imagesOf(plan).filter((image) => formatReference(image.declared) === declared);
  const [image] = found;
  if (image === undefined || found.length > 1)
    throw new Error(`${declared} stands ${found.length} times in the plan`);
  return image;
}

/** Where an image is fetched from. */
export function sourceOf(plan: Plan, declared: string): string {
  return formatReference(imageOf(plan, declared).source);
}

/** The rules by which an image was decided. */
export function rulesOf(plan: Plan, declared: string): readonly string[] {
  return imageOf(plan, declared).because.map(({ rule }) => rule);
}

/** Codes of the plan's faults, in their order. */
export function faultCodes(plan: Plan): readonly string[] {
  return plan.faults.map(({ code }) => code);
}

/** Codes of the plan's warnings, in their order. */
export function warningCodes(plan: Plan): readonly string[] {
  return plan.warnings.map(({ code }) => code);
}

function profileFile([file, packs]: [string, readonly PackSketch[]]): [string, string] {
  const name = file.replace(/\.[a-z]+$/, "");
  return [
    file,
    pretty({ metadata: { name }, spec: { template: { packs: packs.map(packDocument) } } }),
  ];
}

function packDocument({ name, layer, images, values, manifests }: PackSketch): Mapping {
  const content =
    images === undefined
      ? {}
      : { pack: { content: { images: images.map((image) => ({ image })) } } };
  return {
    name,
    layer,
    values: pretty({ ...content, ...values }),
    manifests: (manifests ?? []).map((text, i) => ({ name: `manifest-${i}`, content: text })),
  };
}

function pretty(value: Mapping): string {
  return JSON.stringify(value, null, 2);
}
