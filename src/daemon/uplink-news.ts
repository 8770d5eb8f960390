import type { CredentialReport } from "#credential";
import type { DeliverySummary } from "#deliver";

/** What a registry's failure is called when nobody answered at all. */
const UNREACHABLE = "registry-unreachable";

/** Whether the uplink carries, as far as what happens says; undefined when it says nothing of it. */
export function uplinkFromDelivery(summary: DeliverySummary): boolean | undefined {
  if (summary.bytesFetched > 0) return true;
  const codes = summary.failures.map(({ code }) => code);
  // A full disk says nothing of it.
  if (codes.some((code) => code.startsWith("registry-") && code !== UNREACHABLE)) return true;
  // What is pinned and here already needs nobody to answer.
  const stood = summary.stages.reduce((sum, stage) => sum + stage.stood, 0);
  return stood > 0 || codes.includes(UNREACHABLE) ? false : undefined;
}

/** As {@link uplinkFromDelivery}; the local registry is no matter of the uplink. */
export function uplinkFromCredentials(reports: readonly CredentialReport[]): boolean | undefined {
  const kinds = reports
    .filter(({ role }) => role !== "local")
    .map(({ outcome }) => outcome.kind)
    .filter((kind) => kind !== "untried");
  if (kinds.length === 0) return undefined;
  return kinds.some((kind) => kind !== "unreachable");
}
