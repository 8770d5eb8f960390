import { type Findings, type Place, printable } from "#base";
import { type ClusterInputs, type DeclaredRegistry, isAuthenticated } from "#profile";
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
  const external = userData.externals.find(isAuthenticated);
  const clashes = [
    ...(external === undefined ? [] : [externalClash(external)]),
    ...(local === null ? [] : [localClash(inputs)]),
  ];
  if (clashes.length === 0 || site.combinations === "extended") {
    return { supported: true, needsExtended: clashes.length > 0 };
  }
  for (const { feature, field, place, remedy } of clashes) {
    const where = place === undefined ? "" : `, ${printable(place.file)}:${place.line}`;
    findings.fault(
      providerCredentials.place,
      "combination-unsupported",
      `Cannot use an authenticated provider registry (providerCredentials) together with ${feature} (${field}${where})`,
      `Use a public provider registry and take providerCredentials out, or ${remedy}, or set combinations: extended in the site file`,
    );
  }
  return { supported: false, needsExtended: true };
}

/** What can't stand beside providerCredentials: the field that declares it, and how to undo that. */
interface Clash {
  readonly feature: string;
  readonly field: string;
  readonly place: Place | undefined;
  readonly remedy: string;
}

function externalClash({ origin, place }: DeclaredRegistry): Clash {
  const field = origin
    .replace("user-data:", "stylus.")
    .replace("externalRegistries[", "externalRegistries.registries[");
  const remedy = `take username and password out of ${field}`;
  return { feature: "an authenticated external registry", field, place, remedy };
}

function localClash({ site, packedRegistry }: ClusterInputs): Clash {
  const written = site.localRegistry;
  const isWritten = written?.kind !== undefined;
  return {
    feature: "a local registry",
    field: isWritten ? "localRegistry.kind" : `pack ${packedRegistry?.packNames.join(", ") ?? ""}`,
    place: isWritten ? written.place : packedRegistry?.place,
    remedy: "set localRegistry.kind: none in the site file",
  };
}
