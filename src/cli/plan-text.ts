import type { Plan, PlannedImage, Stage } from "#plan";
import { formatReference } from "#reference";

/** The plan for eyes: registries and roles, the combination, then stage by stage every image. */
export function formatPlan(plan: Plan): string {
  return [
    `PROFILE      ${plan.profiles.join(", ") || "(none)"}`,
    ...registryLines(plan),
    `COMBINATION  ${combinationText(plan)}`,
    ...plan.stages.flatMap(stageLines),
    "",
  ].join("\n");
}

function registryLines({ registries }: Plan): readonly string[] {
  const { provider, external, local } = registries;
  const rows: string[][] = [];
  if (provider !== null) {
    const part =
      external.length === 0 ? "provider images" : "provider images, as the OS pack names them";
    rows.push([
      "provider",
      provider.address,
      provider.authenticated ? "providerCredentials" : "public",
      part,
    ]);
  }
  external.forEach(({ address, authenticated, insecure }, i) => {
    const login = `${authenticated ? "user data" : "public"}${insecure ? ", insecure" : ""}`;
    rows.push([
      "external",
      address,
      login,
      i === 0 ? "every image that no mapping rule sends elsewhere" : "by mapping rule",
    ]);
  });
  if (local !== null) {
    rows.push([
      "local",
      `${local.address ?? "?"}/${local.project}`,
      local.kind,
      "application images, uploaded after the first download",
    ]);
  }
  if (rows.length === 0) return ["REGISTRIES   as each pack names them"];
  return ["REGISTRIES", ...table(rows).map((line) => `  ${line}`)];
}

function combinationText({ combination }: Plan): string {
  if (!combination.supported)
    return "NOT SUPPORTED together; combinations: extended would allow it";
  return combination.needsExtended ? "supported by combinations: extended" : "supported";
}

function stageLines({ name, images }: Stage, index: number): readonly string[] {
  const heading = `STAGE ${index + 1}      ${name}: ${images.length} ${images.length === 1 ? "image" : "images"}`;
  return ["", heading, ...images.flatMap((image) => ["", ...imageLines(image)])];
}

/** One image: its declared name, then source, credential, destination, reason. */
export function imageLines(image: PlannedImage): readonly string[] {
  const declared = formatReference(image.declared);
  const source = formatReference(image.source);
  const by = image.packs.length === 0 ? "the site file" : image.packs.join(", ");
  return [
    `  ${declared}`,
    `    from  ${source === declared ? "the same name" : source}`,
    `    with  ${image.access.origin ?? "no credential"}`,
    `    to    ${image.local === null ? "the store" : `the store, then ${image.local}`}`,
    `    why   ${[...new Set(image.because.map(({ rule }) => rule))].join(", ")}; wanted by ${by} (${image.layer})`,
  ];
}

/** Columns aligned by blanks; the last one is not padded. */
function table(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  "),
  );
}
