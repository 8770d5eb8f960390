import { printable } from "#base";
import type { Access } from "#credential";
import type { Plan, PlannedImage, Stage } from "#plan";
import { formatReference, longestMatch, parseLocation } from "#reference";

/** The plan for eyes: registries and roles, the combination, then stage by stage every image. */
export function formatPlan(plan: Plan): string {
  const profiles = plan.profiles.map((name) => printable(name) || "(no name)");
  return [
    `PROFILE      ${profiles.join(", ") || "(none)"}`,
    "REGISTRIES",
    ...table(registryRows(plan)).map((row) => `  ${row}`),
    `COMBINATION  ${combinationText(plan)}`,
    ...refusalLines(plan),
    ...plan.stages.flatMap(stageLines),
    "",
  ].join("\n");
}

/** Role, address, credential, and what it is for: every registry that is dialled, and the local one. */
function registryRows({ registries, stages }: Plan): readonly (readonly string[])[] {
  const images = stages.flatMap((stage) => stage.images);
  const { provider, external, local } = registries;
  const homes = external.map(({ address }) => ({ address, location: parseLocation(address) }));
  const served = Map.groupBy(images, (image) => {
    if (image.because.some(({ rule }) => rule === "provider-registry")) return PROVIDER_ROW;
    const home = longestMatch(homes, image.source);
    if (home !== undefined) return `external ${home.address}`;
    const isMapped = image.because.some(({ rule }) => rule === "mapping-rule");
    return `${isMapped ? "mapped" : "packs"} ${image.source.domain}`;
  });
  const row = (key: string, role: string, address: string, idle = "no image") => {
    const own = served.get(key) ?? [];
    return [role, address, loginText(own), own.length === 0 ? idle : countText(own.length)];
  };
  const others = [...served.keys()].filter((key) => /^(?:packs|mapped) /.test(key)).sort();
  return [
    ...(provider === null
      ? []
      : [row(PROVIDER_ROW, "provider", provider.address, idleProviderText(images))]),
    ...external.map(({ address }) => row(`external ${address}`, "external", address)),
    ...others.map((key) => row(key, ...splitKey(key))),
    ...(local === null ? [] : [localRow(local, images)]),
  ];
}

const PROVIDER_ROW = "provider";

function splitKey(key: string): [role: string, address: string] {
  const blank = key.indexOf(" ");
  return [key.slice(0, blank), key.slice(blank + 1)];
}

function idleProviderText(images: readonly PlannedImage[]): string {
  const provider = images.find(({ category }) => category === "provider");
  return provider === undefined
    ? "no image"
    : `no image: the provider image comes from ${provider.source.domain}`;
}

function localRow(
  { address, project, kind, access }: NonNullable<Plan["registries"]["local"]>,
  images: readonly PlannedImage[],
): readonly string[] {
  const uploads = images.filter((image) => image.local !== null).length;
  return [
    "local",
    `${address ?? "(no address)"}/${printable(project)}`,
    kind === "embedded" ? kind : [kind, originText({ access }), ...insecureText(access)].join(", "),
    uploads === 0 ? "no image" : `${countText(uploads)} uploaded after the first download`,
  ];
}

/** The credentials that a registry is sent, and how far it is trusted. */
function loginText(images: readonly PlannedImage[]): string {
  const origins = new Set(images.map(originText));
  const isInsecure = images.some(({ access }) => access.insecure);
  return [...[...origins].sort(), ...(isInsecure ? ["insecure"] : [])].join(", ") || "-";
}

function insecureText({ insecure }: Access): readonly string[] {
  return insecure ? ["insecure"] : [];
}

function originText({ access }: { readonly access: Access }): string {
  return access.origin === null ? "no credential" : printable(access.origin);
}

function countText(count: number): string {
  return count === 1 ? "1 image" : `${count} images`;
}

function combinationText({ combination, registries }: Plan): string {
  const { provider, external, local } = registries;
  const features = [
    ...(local === null ? [] : ["local registry"]),
    ...(external.some(({ authenticated }) => authenticated)
      ? ["authenticated external registry"]
      : []),
    ...(provider?.authenticated === true ? ["authenticated provider registry"] : []),
  ];
  const what = features.length === 0 ? "" : `: ${features.join(" + ")}`;
  if (!combination.supported) return `NOT SUPPORTED${what}; combinations: extended would lift this`;
  return combination.needsExtended
    ? `supported by combinations: extended${what}`
    : `supported${what}`;
}

function refusalLines({ faults }: Plan): readonly string[] {
  if (faults.length === 0) return [];
  const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
  return [
    `REFUSED      ${count}; this is as far as it could be planned, and none of it is delivered`,
  ];
}

function stageLines({ name, images }: Stage, index: number): readonly string[] {
  const heading = `STAGE ${index + 1}      ${name}: ${countText(images.length)}`;
  return ["", heading, ...images.flatMap((image) => ["", ...imageLines(image)])];
}

/** One image: its declared name, then source, credential, destination, reason. */
export function imageLines(image: PlannedImage): readonly string[] {
  const declared = formatReference(image.declared);
  const source = formatReference(image.source);
  return [
    `  ${declared}`,
    `    from  ${source === declared ? `${image.source.domain}, as declared` : source}`,
    `    with  ${originText(image)}`,
    `    to    ${image.local === null ? "the store" : `the store, then ${image.local}`}`,
    `    why   ${[...new Set(image.because.map(({ rule }) => rule))].join(", ")}; ${wantedBy(image)}`,
  ];
}

/** Whose image it is: the packs that declare it and the lowest of their layers. */
export function wantedBy({ packs, layer }: PlannedImage): string {
  return packs.length === 0
    ? "an extra image"
    : `wanted by ${printable(packs.join(", "))} (${layer})`;
}

/** Columns aligned by blanks; the last one is not padded. */
function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  "),
  );
}
