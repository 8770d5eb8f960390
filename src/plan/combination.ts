import type { Findings } from "#base";
import { type ClusterInputs, isAuthenticated } from "#profile";
import type { Plan, PlanRegistries } from "./plan.ts";

/**
 * Judges what is used together (rule `combination`): an authenticated provider registry goes with
 * neither an authenticated external nor a local registry, unless `combinations: extended` lifts that.
 */
export function judgeCombination(
  inputs: ClusterInputs,
  local: PlanRegistries["local"],
  findings: Findings,
): Plan["combination"] {
  const { providerCredentials, userData, site } = inputs;
  if (providerCredentials === undefined || !isAuthenticated(providerCredentials)) {
    return { supported: true, needsExtended: false };
  }
  const clashes = [
    ...userData.externals
      .filter(isAuthenticated)
      .slice(0, 1)
      .map(({ origin }) => ({
        feature: "an authenticated external registry",
        field: origin.replace(/^user-data:/, "stylus."),
      })),
    ...(local === null ? [] : [{ feature: "a local registry", field: localField(inputs) }]),
  ];
  if (clashes.length === 0 || site.combinations === "extended") {
    return { supported: true, needsExtended: clashes.length > 0 };
  }
  for (const { feature, field } of clashes) {
    findings.fault(
      providerCredentials.place,
      "combination-unsupported",
      `An authenticated provider registry (providerCredentials in the OS pack) cannot be used with ${feature} (${field})`,
      `Make the provider registry public and take providerCredentials out, or take ${field} out, or set combinations: extended in the site file`,
    );
  }
  return { supported: false, needsExtended: true };
}

function localField({ site, packedRegistry }: ClusterInputs): string {
  if (site.localRegistry?.kind !== undefined) return "localRegistry.kind in the site file";
  return `pack ${packedRegistry?.packNames.join(", ") ?? ""}`;
}
