import { Findings, nearest, type Place, printable, quoted } from "#base";
import { type Reference, readReference } from "#reference";
import { type ClusterProfile, readClusterProfiles } from "./cluster-profile.ts";
import type { DeclaredRegistry } from "./declared-credential.ts";
import {
  type ExpandedInputs,
  type InputFiles,
  isAddress,
  isProblem,
  joinPath,
  readTextFile,
} from "./input-files.ts";
import { readAlwaysPullPlaces } from "./kubernetes-pack.ts";
import type { MappingRule } from "./mapping-rule.ts";
import { readOsPack } from "./os-pack.ts";
import type { Pack } from "./pack.ts";
import {
  type PlacedReference,
  readDeclaredImages,
  readManifestImages,
  readSwapDisabledPlaces,
} from "./pack-content.ts";
import { readDocument, readMap, readText, wholeFile } from "./reader.ts";
import {
  type PackedRegistry,
  readImageReplacementRules,
  readPackedRegistry,
} from "./registry-packs.ts";
import { readRegistrySecrets } from "./registry-secret.ts";
import { findDotted, TemplateScope, type TemplateValues } from "./scope.ts";
import { DEFAULT_SITE, readPlacedReference, readSite, type Site } from "./site.ts";
import { NO_USER_DATA, readUserData, type UserData } from "./user-data.ts";
import type { WantedImage } from "./wanted.ts";

/** Which files to read, as a person names them on the command line or in the site file. */
export interface InputNames {
  readonly profiles: readonly string[];
  readonly userData?: string;
  readonly site?: string;
  /** Files of further references, one a line. */
  readonly images?: readonly string[];
  /** Files of variables: a mapping of names to values. */
  readonly vars?: readonly string[];
  /** Variables given one by one; they win over files. */
  readonly variables?: ReadonlyMap<string, string>;
}

/** An image that a manifest names and that its pack may have forgotten to declare. */
export interface ManifestImage extends PlacedReference {
  readonly pack: string;
}

/** All that people wrote about a cluster, read and checked, with a place for each word of it. */
export interface ClusterInputs {
  readonly profileNames: readonly string[];
  /** The registries that steer: where profiles come from that were given by an address. */
  readonly steering: readonly Reference[];
  readonly images: readonly WantedImage[];
  readonly manifestImages: readonly ManifestImage[];
  readonly providerCredentials: DeclaredRegistry | undefined;
  readonly registrySecrets: readonly DeclaredRegistry[];
  readonly packedRegistry: PackedRegistry | undefined;
  readonly imageReplacementRules: readonly MappingRule[];
  readonly alwaysPullPlaces: readonly Place[];
  readonly swapDisabledPlaces: readonly Place[];
  readonly userData: UserData;
  readonly site: Site;
}

/**
 * Reads everything that is named. Nothing throws: faults and warnings go into `findings`, and what
 * could be read is returned, so that a plan can be made as far as it goes.
 */
export function readClusterInputs(
  names: InputNames,
  files: InputFiles,
  findings: Findings,
): ClusterInputs {
  const site = readSiteFile(names.site, files, findings);
  const named = names.profiles.length > 0 ? names.profiles : site.profiles;
  const expanded = [...new Set(named)].map((name) => expand(name, files, findings));
  const profileFiles = expanded.flatMap(({ profiles }) => profiles);
  reportProfileTwice(named, findings);
  if (named.length === 0) reportNoProfile(findings);
  const profiles = profileFiles.flatMap((file) => readProfileFile(file, files, findings));
  const packs = profiles.flatMap((profile) => profile.packs);
  reportPackTwice(profiles, findings);
  const asked = new Set<string>();
  const values = templateValues(profiles, readVariables(names, files, findings), asked);
  const scope = new TemplateScope(values, findings);
  const { images, providerCredentials } = readImages(packs, profileFiles, scope, findings);
  const extra = [...site.extraImages, ...readImageFiles(names.images ?? [], files, findings)];
  const carried = expanded.flatMap(({ userData }) => userData ?? []);
  const userDataFile = chooseUserData(names.userData ?? site.userData, carried, findings);
  const userData = readUserDataFile(userDataFile, files, findings);
  const registrySecrets = readSecrets(packs, values, userData, findings);
  const packedRegistry = readPackedRegistry(packs, values);
  // Only now has everything asked for its variables.
  const known = [...profiles.flatMap(({ variableNames }) => variableNames), ...asked];
  // Where no profile can be read, nobody knows what they would ask for.
  if (profiles.length > 0)
    warnUnusedVariables(names.variables ?? new Map(), new Set(known), findings);
  return {
    profileNames: profiles.map(({ name }) => name).sort(compareCodeUnits),
    steering: named.filter(isAddress).flatMap((address) => {
      const reference = readReference(address);
      return "domain" in reference ? [reference] : [];
    }),
    images: [
      ...images,
      ...extra.map((placed) => ({
        ...placed,
        pack: undefined,
        layer: "addon" as const,
        isProvider: false,
      })),
    ],
    manifestImages: packs.flatMap((pack) => {
      return pack.manifests
        .flatMap(readManifestImages)
        .map((placed) => ({ ...placed, pack: pack.name }));
    }),
    providerCredentials,
    registrySecrets,
    packedRegistry,
    imageReplacementRules: readImageReplacementRules(packs, findings),
    alwaysPullPlaces: packs.filter(({ layer }) => layer === "k8s").flatMap(readAlwaysPullPlaces),
    swapDisabledPlaces: packs.flatMap(readSwapDisabledPlaces),
    userData,
    site,
  };
}

/** Order of UTF-16 code units: the same on every machine and in every locale. */
export function compareCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function reportProfileTwice(named: readonly string[], findings: Findings): void {
  for (const file of named.filter((name, i) => named.indexOf(name) !== i)) {
    findings.fault(
      wholeFile(shownName(file)),
      "profile-twice",
      `Cannot plan: the cluster profile ${quoted(shownName(file))} is given twice`,
      "Name each profile once",
    );
  }
}

/** An address stands for what an artifact holds, a folder for its profiles, and a file for itself. */
function expand(name: string, files: InputFiles, findings: Findings): ExpandedInputs {
  const expanded = files.expand?.(name);
  if (expanded === undefined) return { profiles: filesOf(name, files, findings) };
  if (!isProblem(expanded)) return expanded;
  findings.fault(
    wholeFile(name),
    expanded.code,
    `Cannot read ${quoted(name)}: ${expanded.message}`,
    "Check the address, or give a file",
  );
  return { profiles: [] };
}

/** What is named on the site is nearer than what an artifact carries; of two that are carried none is. */
function chooseUserData(
  named: string | undefined,
  carried: readonly string[],
  findings: Findings,
): string | undefined {
  const [first, second] = carried;
  if (named !== undefined && first !== undefined) {
    findings.warn(
      wholeFile(first),
      "user-data-unused",
      `This user data is not used: the site has its own, ${quoted(shownName(named))}`,
      "Take userData out of the site file to use what the artifact carries",
    );
  }
  if (named === undefined && second !== undefined) {
    findings.fault(
      wholeFile(second),
      "user-data-twice",
      `Cannot tell which user data holds: ${quoted(first ?? "")} is there too`,
      "Publish user data with one of the artifacts only, or name a file with userData: in the site file",
    );
  }
  return named ?? first;
}

/** A folder stands for all profiles in it; those of editors and other tools begin with a dot. */
function filesOf(name: string, files: InputFiles, findings: Findings): readonly string[] {
  const listed = name === "-" ? [] : files.list(name);
  if (name === "-" || isProblem(listed)) return [name];
  const profiles = listed.filter((each) => /^[^.].*\.(?:json|ya?ml)$/i.test(each));
  if (profiles.length === 0) {
    findings.fault(
      wholeFile(name),
      "profile-missing",
      `Cannot plan: the folder ${quoted(name)} has no cluster profile in it`,
      "Put one there whose name ends in .json, .yaml or .yml, or name a file",
    );
  }
  return profiles.map((each) => joinPath(name, each));
}

function reportNoProfile(findings: Findings): void {
  findings.fault(
    wholeFile(""),
    "profile-missing",
    "Cannot plan: no cluster profile is given",
    "Name one with --profile FILE, or below profiles: in the site file",
  );
}

/** Reads the site file alone; what holds by default where there is none, or where it can't be read. */
export function readSiteFile(
  file: string | undefined,
  files: InputFiles,
  findings: Findings,
): Site {
  const source = file === undefined ? undefined : readTextFile(files, file, findings);
  return source === undefined || file === undefined
    ? DEFAULT_SITE
    : readSite(source, file, files, findings);
}

function readUserDataFile(
  file: string | undefined,
  files: InputFiles,
  findings: Findings,
): UserData {
  const source =
    file === undefined ? undefined : readTextFile(files, file, findings, { name: shownName(file) });
  return source === undefined ? NO_USER_DATA : readUserData(source, findings);
}

/** `-` is standard input. */
function shownName(file: string): string {
  return file === "-" ? "<stdin>" : file;
}

function readProfileFile(
  file: string,
  files: InputFiles,
  findings: Findings,
): readonly ClusterProfile[] {
  const source = readTextFile(files, file, findings, { name: shownName(file) });
  if (source === undefined) return [];
  return readClusterProfiles(source, file === "-" ? "" : file, files, findings);
}

/** Two packs of one name would make `.spectro.pack.<name>` depend on the order of the files. */
function reportPackTwice(profiles: readonly ClusterProfile[], findings: Findings): void {
  const seen = new Map<string, Pack>();
  for (const pack of profiles.flatMap(({ packs }) => packs)) {
    const other = seen.get(pack.name);
    seen.set(pack.name, pack);
    if (other === undefined) continue;
    findings.warn(
      pack.place,
      "pack-twice",
      `Pack ${quoted(pack.name)} is there twice (also in ${quoted(other.place.file)}, line ${other.place.line})`,
      "Give the profiles that one cluster uses; both packs are planned",
    );
  }
}

/** Beside an external registry the Secrets may go unfilled, for it serves what they were written for. */
function readSecrets(
  packs: readonly Pack[],
  values: TemplateValues,
  { externals }: UserData,
  findings: Findings,
): readonly DeclaredRegistry[] {
  const found = new Findings();
  const scope = new TemplateScope(values, found);
  const secrets = packs.flatMap((pack) => readRegistrySecrets(pack, scope, findings));
  for (const { code, message, remedy, ...place } of found.faults) {
    if (externals.length > 0) findings.warn(place, code, message, remedy);
    else findings.fault(place, code, message, remedy);
  }
  return secrets;
}

/** A variable on the command line that nothing asks for is a slip of the pen, or a leftover. */
function warnUnusedVariables(
  given: ReadonlyMap<string, string>,
  known: ReadonlySet<string>,
  findings: Findings,
): void {
  for (const name of given.keys()) {
    if (known.has(name) || known.has(name.replace(/^spectro\.var\./, ""))) continue;
    const meant = nearest(name, known);
    findings.warn(
      wholeFile(""),
      "variable-unused",
      `No template that decides about images asks for the variable ${quoted(name)}, and no profile declares it`,
      meant === undefined
        ? "Check its name, or leave it out"
        : `Did you mean "${printable(meant)}"?`,
    );
  }
}

/** @param asked takes down every name, in all its spellings, that a template asks for */
function templateValues(
  profiles: readonly ClusterProfile[],
  given: ReadonlyMap<string, string>,
  asked: Set<string>,
): TemplateValues {
  const packs = profiles.flatMap(({ packs: own }) => own);
  const byName = new Map(packs.toSorted(comparePacks).map((pack) => [pack.name, pack]));
  const defaults = new Map(profiles.flatMap(({ variables }) => [...variables]));
  const system = systemValues(profiles, packs);
  const find = (...spellings: readonly string[]) => {
    for (const spelling of spellings) asked.add(spelling);
    return spellings.map((spelling) => given.get(spelling)).find((value) => value !== undefined);
  };
  return {
    packValue: (name, keys) => {
      const pack = byName.get(name);
      const own = pack?.values === undefined ? undefined : findDotted(pack.values, keys);
      if (own !== undefined && own.kind !== "null") return own;
      const whole = pack?.wholeValues();
      return whole === undefined ? undefined : findDotted(whole, keys);
    },
    packNames: [...byName.keys()],
    system: (name) => find(`spectro.system.${name}`, `system.${name}`) ?? system.get(name),
    variable: (name) => find(name, `spectro.var.${name}`) ?? defaults.get(name),
    macro: (name) => find(name, `spectro.macro.${name}`),
  };
}

/** Of packs of one name the last in this order counts, whatever the order of the files. */
function comparePacks(a: Pack, b: Pack): number {
  return (
    compareCodeUnits(a.version ?? "", b.version ?? "") ||
    compareCodeUnits(a.place.file, b.place.file)
  );
}

/** What `.spectro.system` can be told from the profiles themselves; the rest comes from `--var`. */
function systemValues(
  profiles: readonly ClusterProfile[],
  packs: readonly Pack[],
): ReadonlyMap<string, string> {
  const infra = profiles.find((profile) => profile.packs.some(({ layer }) => layer === "os"));
  const kubernetes = packs.find(({ layer }) => layer === "k8s")?.version;
  const values: readonly (readonly [string, string | undefined])[] = [
    ["clusterprofile.name", infra?.name ?? profiles[0]?.name],
    ["clusterprofile.version", infra?.version],
    ["clusterprofile.infra.name", infra?.name],
    ["clusterprofile.infra.version", infra?.version],
    ["cloud.type", infra?.cloudType],
    ["kubernetes.version", kubernetes],
  ];
  return new Map(
    values.filter((entry): entry is readonly [string, string] => entry[1] !== undefined),
  );
}

function readVariables(
  names: InputNames,
  files: InputFiles,
  findings: Findings,
): ReadonlyMap<string, string> {
  const variables = new Map<string, string>();
  for (const file of names.vars ?? []) {
    const source = readTextFile(files, file, findings);
    const root = source === undefined ? undefined : readDocument(source, findings);
    for (const { key, value } of readMap(root, findings)?.entries ?? []) {
      variables.set(key, value.text ?? readText(value, findings) ?? "");
    }
  }
  for (const [name, value] of names.variables ?? []) variables.set(name, value);
  return variables;
}

function readImages(
  packs: readonly Pack[],
  profileFiles: readonly string[],
  scope: TemplateScope,
  findings: Findings,
): {
  readonly images: readonly WantedImage[];
  readonly providerCredentials: DeclaredRegistry | undefined;
} {
  const osPacks = packs.filter(({ layer }) => layer === "os");
  const [first, second] = osPacks;
  // Where no pack could be read at all, a fault says why, and that one would follow from it.
  if (first === undefined && (packs.length > 0 || !findings.hasFaults))
    reportNoOsPack(profileFiles[0], findings);
  if (first !== undefined && second !== undefined) reportTwoOsPacks(first, second, findings);
  const read = new Map(osPacks.map((pack) => [pack, readOsPack(pack, scope, findings)]));
  const images = packs.flatMap((pack): WantedImage[] => {
    const wanted = (isProvider: boolean) => (placed: PlacedReference) => {
      return { ...placed, pack: pack.name, layer: pack.layer, isProvider };
    };
    const os = read.get(pack);
    if (os === undefined) return readDeclaredImages(pack, scope, findings).map(wanted(false));
    return [
      ...(os.provider === undefined ? [] : [wanted(true)(os.provider)]),
      ...os.otherImages.map(wanted(false)),
    ];
  });
  const credentials = [...read.values()].map((os) => os.credentials);
  return { images, providerCredentials: credentials.find((declared) => declared !== undefined) };
}

function reportNoOsPack(profileFile = "", findings: Findings): void {
  findings.fault(
    wholeFile(shownName(profileFile)),
    "provider-location-missing",
    "Cannot plan: no profile has an OS pack (layer: os), so the provider image is not known",
    "Give the infrastructure profile of the cluster too; --profile may be repeated",
  );
}

function reportTwoOsPacks(first: Pack, second: Pack, findings: Findings): void {
  findings.fault(
    second.place,
    "os-pack-twice",
    `Cannot tell the provider image: ${quoted(first.name)} and ${quoted(second.name)} are both OS packs`,
    "Give the profiles of one cluster only: one infrastructure profile and its add-ons",
  );
}

function readImageFiles(
  names: readonly string[],
  files: InputFiles,
  findings: Findings,
): readonly PlacedReference[] {
  return names.flatMap((file) => {
    const source = readTextFile(files, file, findings, { name: shownName(file) });
    const lines = source?.text.split(/\r?\n/) ?? [];
    return lines.flatMap((line, i) => {
      const text = line.replace(/(?:^|\s)#.*$/, "").trim();
      if (text === "") return [];
      const place = {
        file: shownName(file),
        line: i + 1,
        column: line.indexOf(text) + 1,
        path: "",
      };
      return readPlacedReference(text, place, findings);
    });
  });
}
