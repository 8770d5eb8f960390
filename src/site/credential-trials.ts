import {
  type Access,
  type Credential,
  type CredentialTrial,
  type Expiry,
  tokenEndsMs,
} from "#credential";
import type { RobotSecret } from "#harbor";
import type { CredentialUse, Plan } from "#plan";
import { formatReference, tagOrDigest } from "#reference";
import { certificateEnd, type ProxySettings, type Remote, readServerCertificate } from "#remote";

/** How a credential can be tried: the tag or digest of an image that needs it is resolved, once. */
export function credentialTrial(
  { registry, role, origin, trial }: CredentialUse,
  remote: Pick<Remote, "repository">,
  proxy: ProxySettings,
): CredentialTrial {
  const subject = { registry, role, origin };
  if (trial === undefined) {
    return {
      ...subject,
      image: null,
      expiries: [],
      attempt: async () => undefined,
      serverCertificate: async () => undefined,
    };
  }
  const { image, access } = trial;
  return {
    ...subject,
    image: formatReference(image),
    expiries: expiriesOf(access),
    async attempt(signal) {
      const source = remote.repository(image, access);
      await source.resolve(tagOrDigest(image), { signal, patience: "brief" });
    },
    async serverCertificate(signal) {
      const end = await readServerCertificate(registry, { proxy, signal });
      return end && { what: "server-certificate", name: end.subject, endsMs: end.endsMs };
    },
  };
}

/** The robot accounts by which a Harbor is pushed to and pulled from, as far as they were made already. */
export function robotUses(
  local: Plan["registries"]["local"],
  uses: readonly CredentialUse[],
  secrets: readonly RobotSecret[],
): readonly CredentialUse[] {
  if (local?.kind !== "harbor") return [];
  const trial = uses.find(({ role }) => role === "local")?.trial;
  return secrets.flatMap(({ harbor, project, login }): CredentialUse[] => {
    if (harbor !== local.address || project !== local.project || login === null) return [];
    const origin = `harbor-robot:${login.username}`;
    const credential = { kind: "password", ...login } as const;
    const subject = { registry: harbor, role: "local", origin } as const;
    if (trial === undefined) return [{ ...subject, trial }];
    return [{ ...subject, trial: { ...trial, access: { ...trial.access, origin, credential } } }];
  });
}

/** What ends by itself of what an access is made of. */
function expiriesOf({ credential, certificates, insecure }: Access): readonly Expiry[] {
  const authorities = insecure ? [] : certificates;
  const token = credential === undefined ? undefined : tokenEndsMs(secretOf(credential));
  return [
    ...(token === undefined ? [] : [{ what: "token", name: "JWT", endsMs: token } as const]),
    ...authorities.flatMap((pem) => {
      const end = certificateEnd(pem);
      return end === undefined
        ? []
        : [{ what: "authority", name: end.subject, endsMs: end.endsMs } as const];
    }),
  ];
}

/** Clouds give tokens in place of passwords, and some of them say when they end. */
function secretOf(credential: Credential): string {
  switch (credential.kind) {
    case "password":
      return credential.password.reveal();
    case "helper":
      return "";
    default:
      return credential.token.reveal();
  }
}
