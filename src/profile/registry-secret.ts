import { type Findings, quoted } from "#base";
import { type DeclaredRegistry, readLocation } from "./declared-credential.ts";
import { type Node, parseDocuments } from "./document.ts";
import type { Pack } from "./pack.ts";
import { documentsMentioning } from "./pack-content.ts";
import { readText, reportUnknownKeys } from "./reader.ts";
import { decodeBase64, isMasked, sensitive } from "./sensitive.ts";

const REGISTRY_LABEL = "spectrocloud.com/registry";

/** What may hold one; the rest of a manifest may be a template that is no YAML, and isn't ours. */
const SECRET_KIND = /kind["']?[ \t]*:[ \t]*["']?(?:Secret|List)\b/;

/** `name` and `type` stand in older samples and mean nothing here. */
const FIELDS = ["url", "username", "password", "name", "type"] as const;

/** Registry Secrets in a pack's manifests: a `Secret` labelled `spectrocloud.com/registry: "true"`. */
export function readRegistrySecrets(pack: Pack, findings: Findings): readonly DeclaredRegistry[] {
  return documentsMentioning(pack, REGISTRY_LABEL)
    .filter(({ text }) => SECRET_KIND.test(text))
    .flatMap((source) => parseDocuments(source, findings))
    .flatMap((root) =>
      root.get("kind")?.text === "List" ? (root.get("items")?.items ?? []) : [root],
    )
    .filter(isRegistrySecret)
    .flatMap((secret) => readRegistrySecret(secret, findings) ?? []);
}

function isRegistrySecret(node: Node): boolean {
  return (
    node.get("kind")?.text === "Secret" &&
    node.at("metadata", "labels", REGISTRY_LABEL)?.boolean === true
  );
}

function readRegistrySecret(secret: Node, findings: Findings): DeclaredRegistry | undefined {
  const name = readText(secret.at("metadata", "name"), findings) ?? "unnamed";
  reportUnknownKeys(secret.get("data"), FIELDS, findings, "warning");
  reportUnknownKeys(secret.get("stringData"), FIELDS, findings, "warning");
  const field = (key: string) => readField(secret, key, findings);
  const [url, username, password] = [field("url"), field("username"), field("password")];
  if (url === undefined) {
    reportMissingUrl(secret, name, findings);
    return undefined;
  }
  const location = readLocation(url.node, url.text, findings);
  if (location === undefined) return undefined;
  const hidden = password === undefined ? undefined : sensitive(password.text);
  return {
    origin: `secret:${name}`,
    location,
    ...(username === undefined ? {} : { username: username.text }),
    ...(hidden === undefined ? {} : { password: hidden.secret }),
    isMasked: (hidden?.isMasked ?? false) || (username !== undefined && isMasked(username.text)),
    insecure: false,
    certificates: [],
    place: secret.at("metadata", "name")?.place ?? secret.place,
  };
}

function reportMissingUrl(secret: Node, name: string, findings: Findings): void {
  const written = secret.at("data", "url")?.text ?? "";
  if (written !== "" && decodeBase64(written) === undefined) return;
  findings.fault(
    secret.place,
    "secret-without-url",
    `Cannot use the registry Secret ${quoted(name)}: it has no url`,
    "Add data.url: the registry's host, as base64",
  );
}

/** A field of `stringData`, or of `data` with its base64 undone. */
function readField(
  secret: Node,
  key: string,
  findings: Findings,
): { readonly text: string; readonly node: Node } | undefined {
  const plain = secret.at("stringData", key);
  const plainText = readText(plain, findings);
  if (plain !== undefined && plainText !== undefined) return { text: plainText, node: plain };
  const node = secret.at("data", key);
  const encoded = readText(node, findings);
  if (node === undefined || encoded === undefined) return undefined;
  if (isMasked(encoded)) return { text: encoded, node };
  const text = decodeBase64(encoded);
  if (text !== undefined)
    return text.trim() === "" ? undefined : { text: text.replace(/\r?\n$/, ""), node };
  findings.fault(
    node.place,
    "base64-invalid",
    `Cannot read ${quoted(key)} of the registry Secret: it is not base64`,
    "Encode it with base64, or move it as plain text to stringData",
  );
  return undefined;
}
