import type { PlannedImage } from "#plan";
import type { Followed, FollowedEndpoint } from "#redirect";
import { formatReference } from "#reference";
import type { SiteRegistries, SiteRole } from "./ports.ts";
import type { Problem, ProvenReference } from "./proof.ts";

/** How a runtime's own files would send it for an image. */
export interface RedirectionFinding {
  readonly redirection: NonNullable<ProvenReference["redirection"]>;
  /** The endpoints of each registry of the site, in order. */
  readonly endpoints: ReadonlyMap<SiteRole, readonly FollowedEndpoint[]>;
  readonly problems: readonly Problem[];
}

/** Judges whether the runtime would ask the registries that are to have the image, in the right order. */
export function judgeRedirection(
  image: PlannedImage,
  followed: Followed,
  registries: SiteRegistries,
  wanted: readonly SiteRole[],
  runtime: string,
): RedirectionFinding {
  const roles = followed.endpoints.map((endpoint) => {
    return { endpoint, role: endpoint.isUpstream ? undefined : registries.roleOf(endpoint) };
  });
  const endpoints = new Map<SiteRole, FollowedEndpoint[]>();
  for (const { endpoint, role } of roles) {
    if (role === undefined) continue;
    endpoints.set(role, [...(endpoints.get(role) ?? []), endpoint]);
  }
  const asked = [...endpoints.keys()];
  const remedy = `Run \`dray redirect ${runtime}\` with the same inputs`;
  const problems: Problem[] = [];
  if (followed.problem !== undefined) {
    problems.push({
      code: "redirection-broken",
      message: `${runtime} does not heed ${followed.decidedBy ?? "its file"} of mirrors: ${followed.problem}`,
      remedy: `Mend the file, then run \`dray redirect ${runtime}\``,
    });
  }
  const missing = wanted.filter((role) => !endpoints.has(role));
  for (const role of followed.problem === undefined ? missing : []) {
    problems.push({
      code: "not-redirected",
      message: `${runtime} is not sent to the ${role} registry for the images of ${image.declared.domain}`,
      remedy,
    });
  }
  // The local registry answers for application images, so it comes first (rule `local-serve`).
  if (missing.length === 0 && wanted.includes("local") && asked[0] !== "local") {
    problems.push({
      code: "redirection-order",
      message: `${runtime} asks the embedded registry before the local one for ${formatReference(image.declared)}`,
      remedy,
    });
  }
  return {
    redirection: {
      decidedBy: followed.decidedBy ?? null,
      asks: roles.map(({ endpoint, role }) => {
        return { url: withoutSecrets(endpoint.url), role: role ?? "elsewhere" };
      }),
    },
    endpoints,
    problems,
  };
}

/** A person may have written a password into the URL of a mirror. */
function withoutSecrets(url: string): string {
  return url.replace(/^(https?:\/\/)[^/]*@/, "$1");
}
