import { Secret } from "#base";
import type { Access, Credential } from "#credential";
import { type ClusterInputs, type DeclaredRegistry, isAuthenticated } from "#profile";
import { contains, formatLocation, longestMatch, type Reference } from "#reference";
import type { DeclaredImage } from "./image.ts";
import type { Reason, RuleName } from "./plan.ts";

/** Asks Docker's configuration, where the person allowed that. */
export type DockerCredentials = (source: Reference) => Credential | undefined;

/** How an image's registry is talked to, the rules that say so, and the declarations that were used. */
export interface AccessDecision {
  readonly access: Access;
  readonly because: readonly Reason[];
  readonly used: readonly DeclaredRegistry[];
}

/**
 * Decides with which credential an image is fetched from its source: that of the external registry
 * entry it lies in, or providerCredentials (provider images only), or a registry Secret or the site
 * file, whichever matches longest, or Docker's configuration. A masked password gives way to the site
 * file's.
 */
export function decideAccess(
  image: DeclaredImage,
  source: Reference,
  inputs: ClusterInputs,
  docker: DockerCredentials,
): AccessDecision {
  const external = longestMatch(inputs.userData.externals, source);
  const site = longestMatch(inputs.site.credentials, source);
  const candidates = [
    external,
    providerFor(image, source, inputs, external),
    secretFor(image, source, inputs, site),
  ];
  const declared = candidates.find(
    (candidate) => candidate !== undefined && hasUsableCredential(candidate),
  );
  const chosen = declared ?? (site !== undefined && isAuthenticated(site) ? site : undefined);
  const trusted = [external, providerFor(image, source, inputs, external), site, chosen].filter(
    (one) => one !== undefined,
  );
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
    used: trusted,
  };
}

/** providerCredentials serve provider images only, and only from where the OS pack says. */
function providerFor(
  image: DeclaredImage,
  source: Reference,
  { providerCredentials }: ClusterInputs,
  external: DeclaredRegistry | undefined,
): DeclaredRegistry | undefined {
  if (image.category !== "provider" || providerCredentials === undefined || external !== undefined)
    return undefined;
  return contains(providerCredentials.location, source) ? providerCredentials : undefined;
}

/** Of a Secret and a site credential the longer match wins, and on a draw the site file, which is nearer. */
function secretFor(
  image: DeclaredImage,
  source: Reference,
  { registrySecrets }: ClusterInputs,
  site: DeclaredRegistry | undefined,
): DeclaredRegistry | undefined {
  const secret = image.category === "provider" ? undefined : longestMatch(registrySecrets, source);
  if (secret === undefined || site === undefined || !isAuthenticated(site)) return secret;
  return secret.location.path.length > site.location.path.length ? secret : undefined;
}

function hasUsableCredential(declared: DeclaredRegistry): boolean {
  return isAuthenticated(declared) && !declared.isMasked;
}

function passwordCredential({ username, password }: DeclaredRegistry): Credential {
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
