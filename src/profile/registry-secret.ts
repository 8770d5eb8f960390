import { type Findings, quoted, Secret } from "#base";
import { type DeclaredRegistry, readLocation, warnIncomplete } from "./declared-credential.ts";
import { type Node, parseDocuments } from "./document.ts";
import type { Pack } from "./pack.ts";
import { documentsMentioning } from "./pack-content.ts";
import { readText, reportUnknownKeys } from "./reader.ts";
import type { TemplateScope } from "./scope.ts";
import { decodeBase64, isMasked, maskedPlace } from "./sensitive.ts";
import { isTemplate } from "./template.ts";
import type { TextSource } from "./text-source.ts";

const REGISTRY_LABEL = "spectrocloud.com/registry";

/** What may hold one; the rest of a manifest may be a template that is no YAML, and isn't ours. */
const SECRET_KIND = /kind["']?[ \t]*:[ \t]*["']?(?:Secret|List)\b/;

/** An expression that only Helm could fill in: it names nothing below `.spectro`. */
const CHART_EXPRESSION = /\{\{(?![^{}]*\.spectro\.)[^{}]*\}\}/;

/** `name` and `type` stand in older samples and mean nothing here. */
const FIELDS = ["url", "username", "password", "name", "type"] as const;

/**
 * Registry Secrets in a pack's manifests: a `Secret` labelled `spectrocloud.com/registry: "true"`.
 * Templates in their values are filled in; one that is a chart's template is told of and passed over.
 */
export function readRegistrySecrets(
  pack: Pack,
  scope: TemplateScope,
  findings: Findings,
): readonly DeclaredRegistry[] {
  const sources = documentsMentioning(pack, REGISTRY_LABEL).filter(({ text }) =>
    SECRET_KIND.test(text),
  );
  for (const source of sources.filter(isChartTemplate)) warnChartTemplate(source, findings);
  return sources
    .filter((source) => !isChartTemplate(source))
    .flatMap((source) => parseDocuments(source, findings))
    .flatMap((root) =>
      root.get("kind")?.text === "List" ? (root.get("items")?.items ?? []) : [root],
    )
    .filter(isRegistrySecret)
    .flatMap((secret) => readRegistrySecret(secret, scope, findings) ?? []);
}

function isChartTemplate({ text }: TextSource): boolean {
  return CHART_EXPRESSION.test(text);
}

function warnChartTemplate(source: TextSource, findings: Findings): void {
  findings.warn(
    source.place(source.text.search(SECRET_KIND), ""),
    "secret-unread",
    "The registry Secret is a chart template, so its credential is not read",
    "Give the credential below credentials: of the site file",
  );
}

function isRegistrySecret(node: Node): boolean {
  return (
    node.get("kind")?.text === "Secret" &&
    node.at("metadata", "labels", REGISTRY_LABEL)?.boolean === true
  );
}

function readRegistrySecret(
  secret: Node,
  scope: TemplateScope,
  findings: Findings,
): DeclaredRegistry | undefined {
  const name = readText(secret.at("metadata", "name"), findings) ?? "unnamed";
  reportUnknownKeys(secret.get("data"), FIELDS, findings, "warning");
  reportUnknownKeys(secret.get("stringData"), FIELDS, findings, "warning");
  const [url, username, password] = ["url", "username", "password"].map((key) => {
    return findField(secret, key, findings);
  });
  const read = (field: Field | undefined) => {
    return field === undefined ? undefined : readField(field, scope, findings);
  };
  const [address, user, secretText] = [read(url), read(username), read(password)];
  if (url === undefined || address === "") reportMissingUrl(secret, name, findings);
  if (url === undefined || address === undefined || address === "") return undefined;
  const location = readLocation(url.node, address, findings);
  if (location === undefined) return undefined;
  warnIncomplete(username?.node, password?.node, findings);
  return {
    origin: `secret:${name}`,
    location,
    ...(user === undefined || user === "" ? {} : { username: user }),
    ...(secretText === undefined || secretText === "" ? {} : { password: new Secret(secretText) }),
    maskedAt: maskedPlace(password?.node, secretText) ?? maskedPlace(username?.node, user),
    insecure: false,
    certificates: [],
    place: secret.at("metadata", "name")?.place ?? secret.place,
  };
}

function reportMissingUrl(secret: Node, name: string, findings: Findings): void {
  findings.fault(
    secret.place,
    "secret-without-url",
    `Cannot use the registry Secret ${quoted(name)}: it has no url`,
    "Add data.url: the registry's host, as base64",
  );
}

interface Field {
  readonly key: string;
  readonly node: Node;
  readonly isEncoded: boolean;
}

/** A field of `stringData`, which wins as in Kubernetes, or of `data`, where it is base64. */
function findField(secret: Node, key: string, findings: Findings): Field | undefined {
  for (const home of ["stringData", "data"]) {
    const node = secret.at(home, key);
    if (node !== undefined && readText(node, findings) !== undefined)
      return { key, node, isEncoded: home === "data" };
  }
  return undefined;
}

/** The text of a field, its templates filled in and its base64 undone; undefined when a fault was told. */
function readField(
  { key, node, isEncoded }: Field,
  scope: TemplateScope,
  findings: Findings,
): string | undefined {
  const written = scope.resolveSecret(node)?.trim();
  if (written === undefined || !isEncoded || isMasked(written)) return written;
  const decoded = decodeBase64(written);
  if (decoded !== undefined) return decoded.trim() === "" ? "" : decoded.replace(/\r?\n$/, "");
  // A variable holds what a person knows, and not everybody encodes it first.
  if (isTemplate(node.text ?? "")) return written;
  findings.fault(
    node.place,
    "base64-invalid",
    `Cannot read ${quoted(key)} of the registry Secret: it is not base64`,
    "Encode it with base64, or move it as plain text to stringData",
  );
  return undefined;
}
