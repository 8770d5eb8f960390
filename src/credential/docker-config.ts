import { Failure, quoted, Secret } from "#base";
import { isJsonObject, type JsonObject } from "#oci";
import {
  canonicalDomain,
  type Location,
  longestMatch,
  type Reference,
  tryParseLocation,
} from "#reference";
import { type Credential, HELPER_NAME } from "./credential.ts";

/** Docker's `config.json`, or the `auth.json` of containers/image, which has the same form. */
export interface DockerConfig {
  readonly file: string;
  /** Helpers by registry host, in its canonical spelling. */
  readonly credHelpers: ReadonlyMap<string, string>;
  /** The helper for every other registry. */
  readonly credsStore?: string;
  readonly auths: readonly DockerAuth[];
}

/** One entry of `auths`, with the registry or the path in it that it is for. */
export interface DockerAuth {
  readonly location: Location;
  readonly credential: Credential;
}

/** The key that Docker itself writes for Docker Hub, and the name under which helpers know it. */
const DOCKER_HUB_SERVER = "https://index.docker.io/v1/";

/**
 * Reads a Docker configuration. Entries for what is no registry are passed over: such files are old,
 * shared, and written by many programs.
 *
 * @param file its name, for messages
 * @throws {Failure} `docker-config-invalid` when it is no JSON object, or an entry is broken in
 *   itself; no message shows any value
 */
export function parseDockerConfig(text: string, file: string): DockerConfig {
  const json = parseObject(text, file);
  const store = json["credsStore"];
  const credHelpers = Object.entries(objectAt(json, "credHelpers", file)).map(
    ([host, helper]): [string, string] => [
      canonicalDomain(host),
      helperName(helper, `credHelpers[${quoted(host, 100)}]`, file),
    ],
  );
  return {
    file,
    credHelpers: new Map(credHelpers),
    ...(store === undefined || store === ""
      ? {}
      : { credsStore: helperName(store, "credsStore", file) }),
    auths: readAuths(objectAt(json, "auths", file), file),
  };
}

/**
 * The credential for a reference: of the helper for its host, else of the store for all hosts, else
 * the entry with the longest path (C-31, C-34). Hosts are equal or they are not: nothing matches by a
 * part of a host or of a path component (SEC-29).
 *
 * @returns undefined when the file has nothing for this registry
 */
export function lookupDockerConfig(
  { credHelpers, credsStore, auths }: DockerConfig,
  reference: Reference,
): Credential | undefined {
  const domain = canonicalDomain(reference.domain);
  const helper = credHelpers.get(domain) ?? credsStore;
  if (helper === undefined) return longestMatch(auths, reference)?.credential;
  return { kind: "helper", helper, server: domain === "docker.io" ? DOCKER_HUB_SERVER : domain };
}

/**
 * Where such files are looked for, first to last (C-30). The first that exists is meant, and one that
 * is broken is an error and no reason to look further.
 */
export function dockerConfigFiles(
  env: Readonly<Record<string, string | undefined>>,
  home: string,
): readonly string[] {
  const { DOCKER_CONFIG, REGISTRY_AUTH_FILE, XDG_RUNTIME_DIR, XDG_CONFIG_HOME } = env;
  return [
    `${DOCKER_CONFIG || `${home}/.docker`}/config.json`,
    ...(REGISTRY_AUTH_FILE ? [REGISTRY_AUTH_FILE] : []),
    ...(XDG_RUNTIME_DIR ? [`${XDG_RUNTIME_DIR}/containers/auth.json`] : []),
    `${XDG_CONFIG_HOME || `${home}/.config`}/containers/auth.json`,
  ];
}

function parseObject(text: string, file: string): JsonObject {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's own message would quote the text, and so perhaps a password.
    throw invalid(file, "it is no JSON, expected a JSON object");
  }
  if (!isJsonObject(json)) throw invalid(file, "it is JSON but no object, expected a JSON object");
  return json;
}

function objectAt(json: JsonObject, field: string, file: string): JsonObject {
  const value = json[field] ?? {};
  if (!isJsonObject(value)) throw invalid(file, `${field} is no object, expected one`);
  return value;
}

function helperName(value: unknown, where: string, file: string): string {
  if (typeof value === "string" && HELPER_NAME.test(value)) return value;
  throw invalid(
    file,
    `${where} is no name of a helper, expected letters, digits, ".", "_" and "-"`,
  );
}

function readAuths(auths: JsonObject, file: string): readonly DockerAuth[] {
  return Object.entries(auths)
    .sort(([a], [b]) => Number(b === DOCKER_HUB_SERVER) - Number(a === DOCKER_HUB_SERVER))
    .flatMap(([key, value]) => {
      const location = readKey(key);
      const where = `auths[${quoted(key, 100)}]`;
      if (!isJsonObject(value)) throw invalid(file, `${where} is no object, expected one`);
      const credential = location && readAuth(value, where, file);
      return credential === undefined || location === undefined ? [] : [{ location, credential }];
    });
}

/**
 * `host`, `host/path`, or as Docker wrote keys in its first years: `https://host/v1/`, which stands
 * for the host (C-33). A key with another path behind a scheme, a user, a tag or a digest is none.
 */
function readKey(key: string): Location | undefined {
  const [, scheme = "", rest = ""] = /^(https?:\/\/)?(.*)$/s.exec(key) ?? [];
  const location = tryParseLocation(rest);
  if (location === undefined) return undefined;
  const isVersion = location.path === "v1" || location.path === "v2";
  if (isVersion && (scheme !== "" || location.domain === "docker.io")) {
    return { domain: location.domain, path: "" };
  }
  return scheme !== "" && location.path !== "" ? undefined : location;
}

/** An entry without anything in it only says that a store knows the rest (C-32). */
function readAuth(value: JsonObject, where: string, file: string): Credential | undefined {
  const registryToken = textAt(value, "registrytoken", where, file);
  if (registryToken !== "") return { kind: "registry-token", token: new Secret(registryToken) };
  const identityToken = textAt(value, "identitytoken", where, file);
  if (identityToken !== "") return { kind: "identity-token", token: new Secret(identityToken) };
  const auth = textAt(value, "auth", where, file);
  if (auth !== "") return decodeAuth(auth, where, file);
  const username = textAt(value, "username", where, file);
  const password = textAt(value, "password", where, file);
  if (username === "" || password === "") return undefined;
  return { kind: "password", username, password: new Secret(password) };
}

function textAt(value: JsonObject, field: string, where: string, file: string): string {
  const text = value[field] ?? "";
  if (typeof text !== "string") throw invalid(file, `${where}.${field} is no text, expected text`);
  return text;
}

/** base64 of `user:password`, the password from the first colon on; Docker once padded it with NUL. */
function decodeAuth(auth: string, where: string, file: string): Credential {
  const text = decodeBase64(auth.trim())?.replace(/\0+$/, "");
  const colon = text?.indexOf(":") ?? -1;
  if (text === undefined || colon < 1) {
    throw invalid(file, `${where}.auth cannot be read, expected user and password in base64`);
  }
  const username = text.slice(0, colon);
  return { kind: "password", username, password: new Secret(text.slice(colon + 1)) };
}

function decodeBase64(text: string): string | undefined {
  try {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function invalid(file: string, why: string): Failure {
  return new Failure({
    code: "docker-config-invalid",
    message: `Cannot read ${quoted(file)}: ${why}`,
    hint: "Correct the file, or log in again with the tool that wrote it; without --docker-config it is not read",
  });
}
