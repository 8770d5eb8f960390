import type { Access, CredentialSubject } from "#credential";
import { type ClusterInputs, isAuthenticated } from "#profile";
import { parseReference, type Reference } from "#reference";
import type { Plan, PlannedImage } from "./plan.ts";

/** A credential of a plan, and what it can be tried with. */
export interface CredentialUse extends CredentialSubject {
  /** Undefined when nothing of the plan needs it. */
  readonly trial: { readonly image: Reference; readonly access: Access } | undefined;
}

/**
 * Every credential that the inputs declare, once for each registry that it is sent to, with the first
 * image of the plan that needs it; and the local registry, also when it is asked without one.
 */
export function credentialUses(
  { stages, registries: { local } }: Plan,
  inputs: ClusterInputs,
): readonly CredentialUse[] {
  const images = stages.flatMap((stage) => stage.images);
  const uses = new Map<string, CredentialUse>();
  for (const { source, access } of images) {
    const { origin } = access;
    const key = `${source.domain} ${origin}`;
    if (origin === null || uses.has(key)) continue;
    const trial = { image: source, access };
    uses.set(key, { registry: source.domain, role: roleOf(origin), origin, trial });
  }
  const own = local === null || local.kind === "embedded" ? [] : [localUse(local, images)];
  const all = [...uses.values(), ...own.flatMap((use) => use ?? [])];
  const used = new Set(all.map(({ origin }) => origin));
  const idle = declaredIn(inputs).filter(({ origin }) => !used.has(origin));
  return [
    ...all,
    ...idle.map(({ origin, location }) => {
      return { registry: location.domain, role: roleOf(origin), origin, trial: undefined };
    }),
  ];
}

function localUse(
  { address, access }: NonNullable<Plan["registries"]["local"]>,
  images: readonly PlannedImage[],
): CredentialUse | undefined {
  if (address === null) return undefined;
  const name = images.find((image) => image.local !== null)?.local;
  return {
    registry: address,
    role: "local",
    origin: access.origin,
    trial: name == null ? undefined : { image: parseReference(name), access },
  };
}

function declaredIn({ userData, registrySecrets, site, providerCredentials }: ClusterInputs) {
  const provider = providerCredentials === undefined ? [] : [providerCredentials];
  const all = [...provider, ...userData.externals, ...registrySecrets, ...site.credentials];
  return all.filter(isAuthenticated);
}

function roleOf(origin: string): CredentialSubject["role"] {
  if (origin.startsWith("os-pack:")) return "provider";
  return origin.startsWith("user-data:") ? "external" : "packs";
}
