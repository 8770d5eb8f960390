import { type Findings, quoted, Secret } from "#base";
import type { Node } from "./document.ts";
import { type InputFiles, readTextFile } from "./input-files.ts";
import { readMap, readText, reportUnknownKeys } from "./reader.ts";
import { parsePem } from "./sensitive.ts";

/** Finds the files that a file names. */
export interface NamedFiles {
  readonly files: InputFiles;
  /** The path of a name that is relative to the folder of the file that names it. */
  readonly beside: (path: string) => string;
}

/** The password in a file that is named: its first line, so that editors may end it as they like. */
export function readPasswordFile(
  node: Node | undefined,
  { files, beside }: NamedFiles,
  findings: Findings,
): Secret | undefined {
  const path = readText(node, findings);
  if (node === undefined || path === undefined) return undefined;
  const source = readTextFile(files, beside(path), findings, { namedAt: node.place });
  const text = source?.text.replace(/\r?\n[\s\S]*$/, "");
  if (text !== "") return text === undefined ? undefined : new Secret(text);
  const remedy = "Write the password on its first line";
  findings.fault(
    node.place,
    "password-file-empty",
    `Cannot use the password file ${quoted(path)}: it is empty`,
    remedy,
  );
  return undefined;
}

/** The certificates in a file that is named, PEM. */
export function readCertificateFile(
  node: Node | undefined,
  { files, beside }: NamedFiles,
  findings: Findings,
): readonly string[] {
  const path = readText(node, findings);
  if (node === undefined || path === undefined) return [];
  const source = readTextFile(files, beside(path), findings, { namedAt: node.place });
  if (source === undefined) return [];
  const certificates = parsePem(source.text);
  if (certificates !== undefined) return certificates;
  findings.fault(
    node.place,
    "certificate-unreadable",
    `Cannot read the certificates in ${quoted(path)}: it is no PEM, expected -----BEGIN CERTIFICATE-----`,
    "Give a file with one or more PEM certificates; convert DER with: openssl x509 -inform der",
  );
  return [];
}

/** What the nodes of a cluster log in to a registry of the site with. */
export interface NodesLogin {
  readonly username: string;
  readonly password: Secret;
}

/**
 * Reads the `{username, passwordFile}` of nodes, which come together.
 *
 * @param key what messages call it
 */
export function readNodesLogin(
  node: Node | undefined,
  key: string,
  named: NamedFiles,
  findings: Findings,
): NodesLogin | undefined {
  const login = readMap(node, findings);
  if (login === undefined) return undefined;
  reportUnknownKeys(login, ["username", "passwordFile"], findings, "fault");
  const username = readText(login.get("username"), findings);
  const passwordNode = login.get("passwordFile");
  const password = readPasswordFile(passwordNode, named, findings);
  if (username !== undefined && password !== undefined) return { username, password };
  // What is wrong with a file that is named was said.
  if (username !== undefined && (passwordNode?.text ?? "").trim() !== "") return undefined;
  const missing = username === undefined ? "username" : "passwordFile";
  findings.fault(
    login.place,
    "credential-incomplete",
    `Cannot give nodes a credential: ${missing} is missing, expected username and passwordFile`,
    `Set ${key}.${missing}, or take ${key} out to let them pull without a credential`,
  );
  return undefined;
}
