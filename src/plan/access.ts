import { Secret } from "#base";
import type { Access, Credential } from "#credential";
import { type ClusterInputs, type DeclaredRegistry, isAuthenticated } from "#profile";
import { contains, formatLocation, longestMatch, type Reference } from "#reference";
import type { PlannedImage, Reason, RuleName } from "./plan.ts";
import { keepsProviderRegistry } from "./source.ts";

/** Asks Docker's configuration, where the person allowed that. */
export type DockerCredentials = (source: Reference) => Credential | undefined;

/** What the choice of a credential depends on: the kind of image, and where it is fetched from. */
export type Fetched = Pick<PlannedImage, "category" | "source">;

/** How an image's registry is talked to, and the rules that say so. */
export interface AccessDecision {
  readonly access: Access;
  readonly because: readonly Reason[];
}

/**
 * Decides with which credential an image is fetched from its source: that of the external registry
 * entry it lies in, or providerCredentials (provider images only), or a registry Secret or the site
 * file, whichever matches longest, or Docker's configuration. A masked password gives way to the site
 * file's.
 */
export function decideAccess(
  image: Fetched,
  inputs: ClusterInputs,
  docker: DockerCredentials,
): AccessDecision {
  const { source } = image;
  const external = externalFor(image, inputs);
  const provider = providerCredentialsFor(image, inputs);
  const site = longestMatch(inputs.site.credentials, source);
  const declared = [external, provider, secretFor(image, inputs, site)].find(
    (candidate) => candidate !== undefined && hasUsableCredential(candidate),
  );
  const chosen = declared ?? (site !== undefined && isAuthenticated(site) ? site : undefined);
  const trusted = [external, provider, site].filter((one) => one !== undefined);
  const dockerCredential = chosen === undefined ? docker(source) : undefined;
  const credential = chosen === undefined ? dockerCredential : passwordCredential(chosen);
  return {
    access: {
      origin: chosen?.origin ?? (dockerCredential === undefined ? null : "docker-config"),
      ...(credential === undefined ? {} : { credential }),
      insecure: trusted.some(({ insecure }) => insecure),
      certificates: [
        ...new Set([
          ...trusted.flatMap(({ certificates }) => certificates),
          ...inputs.userData.caCertificates,
        ]),
      ],
    },
    because:
      chosen === undefined ? dockerReason(dockerCredential) : [credentialReason(chosen, source)],
  };
}

/**
 * Decides how a registry is talked to that no image comes from: one that steers the site, one that it
 * fetches from in place of the uplink. By the site file's credentials, the longest match, then Docker's
 * configuration.
 */
export function decideSiteAccess(
  reference: Reference,
  { site, userData }: Pick<ClusterInputs, "site" | "userData">,
  docker: DockerCredentials,
): Access {
  const declared = longestMatch(site.credentials, reference);
  const own = declared !== undefined && isAuthenticated(declared) ? declared : undefined;
  const fromDocker = own === undefined ? docker(reference) : undefined;
  const credential = own === undefined ? fromDocker : passwordCredential(own);
  return {
    origin: own?.origin ?? (fromDocker === undefined ? null : "docker-config"),
    ...(credential === undefined ? {} : { credential }),
    insecure: declared?.insecure ?? false,
    certificates: [...new Set([...(declared?.certificates ?? []), ...userData.caCertificates])],
  };
}

/** Provider images that are left to the provider registry are fetched as if there were no other. */
function externalFor(
  { category, source }: Fetched,
  inputs: ClusterInputs,
): DeclaredRegistry | undefined {
  if (category === "provider" && keepsProviderRegistry(inputs)) return undefined;
  return longestMatch(inputs.userData.externals, source);
}

/** providerCredentials serve provider images only, and only from where the OS pack says. */
export function providerCredentialsFor(
  image: Fetched,
  inputs: ClusterInputs,
): DeclaredRegistry | undefined {
  const { providerCredentials } = inputs;
  if (image.category !== "provider" || providerCredentials === undefined) return undefined;
  const isServed = contains(providerCredentials.location, image.source);
  return isServed && externalFor(image, inputs) === undefined ? providerCredentials : undefined;
}

/** Of a Secret and a site credential the longer match wins, and on a draw the site file, which is nearer. */
function secretFor(
  { category, source }: Fetched,
  { registrySecrets }: ClusterInputs,
  site: DeclaredRegistry | undefined,
): DeclaredRegistry | undefined {
  const secret = category === "provider" ? undefined : longestMatch(registrySecrets, source);
  if (secret === undefined || site === undefined || !isAuthenticated(site)) return secret;
  return secret.location.path.length > site.location.path.length ? secret : undefined;
}

function hasUsableCredential(declared: DeclaredRegistry): boolean {
  return isAuthenticated(declared) && declared.maskedAt === undefined;
}

/** The credential that a user and a password make; half of one is sent as it is, and refused. */
export function passwordCredential({
  username,
  password,
}: {
  readonly username?: string | undefined;
  readonly password?: Secret | undefined;
}): Credential {
  return { kind: "password", username: username ?? "", password: password ?? NO_PASSWORD };
}

const NO_PASSWORD = new Secret("");

const RULES: readonly (readonly [prefix: string, rule: RuleName])[] = [
  ["user-data:", "external-credentials"],
  ["os-pack:", "provider-credentials"],
];

function credentialReason({ origin, location }: DeclaredRegistry, source: Reference): Reason {
  const rule = RULES.find(([prefix]) => origin.startsWith(prefix))?.[1] ?? "pack-credentials";
  return {
    rule,
    text: `${origin} holds the credential for ${formatLocation(location)}, the longest match for ${source.domain}/${source.path}`,
  };
}

function dockerReason(credential: Credential | undefined): readonly Reason[] {
  if (credential === undefined) return [];
  return [
    {
      rule: "pack-credentials",
      text: "Docker's configuration, which was allowed, holds a credential for this registry",
    },
  ];
}
