import { Findings, Secret } from "#base";
import { type Reference, tagOrDigest } from "#reference";
import { isLoopback, normalEndpoint } from "./endpoint.ts";
import { basicAuthorization, type HostFolder, tableOf } from "./hosts-toml.ts";
import { parseRegistriesYaml } from "./registries-yaml.ts";
import { parseToml, type TomlTable, tomlStatements } from "./toml-text.ts";

/** One place that a runtime asks for an image. */
export interface FollowedEndpoint {
  /** URL of the manifest, with the query that tells a mirror for which host it is asked. */
  readonly url: string;
  /** True for the host itself, or what stands for it as `server`: the last resort. */
  readonly isUpstream: boolean;
  readonly skipVerify: boolean;
  /** Files of certificates, as the runtime's file names them: relative ones lie beside it. */
  readonly authorities: readonly string[];
  /** Value of the header `Authorization` that the runtime's files give it. */
  readonly authorization?: Secret;
}

/** The ways that a runtime would go for an image, and the file that says so. */
export interface Followed {
  readonly endpoints: readonly FollowedEndpoint[];
  /** The folder or entry that decided; undefined when none does, and the host alone is asked. */
  readonly decidedBy?: string;
  /** Why the runtime does not heed the file that would decide. */
  readonly problem?: string;
}

/**
 * The folders in which containerd looks for the mirrors of a host; the first that is there decides, even
 * if it is empty (containerd, core/remotes/docker/config: `hostPaths`).
 */
export function hostFolders(host: string): readonly string[] {
  const colon = host.lastIndexOf(":");
  const plain = colon > 0 ? [`${host.slice(0, colon)}_${host.slice(colon + 1)}_`] : [];
  return [...plain, host, "_default"];
}

/**
 * Which endpoints containerd asks for an image, in order, given the folder of its configuration. By the
 * rules of containerd 1.6 to 2.x; where these differ, by those of 2.x.
 *
 * @param folder what there is in a folder of `config_path`; undefined when it is not there
 */
export function followHostsToml(
  reference: Reference,
  folder: (name: string) => HostFolder | undefined,
): Followed {
  const { domain } = reference;
  const name = hostFolders(domain).find((each) => folder(each) !== undefined);
  const { hostsToml = "", files = [] } = name === undefined ? {} : (folder(name) ?? {});
  const crt = files.filter((file) => file.endsWith(".crt"));
  const alone = { endpoints: [upstreamOf(reference, { ca: crt })] };
  if (name === undefined || hostsToml === "") {
    return { ...alone, ...(name === undefined ? {} : { decidedBy: name }) };
  }
  const decidedBy = `${name}/hosts.toml`;
  const findings = new Findings();
  const table = parseToml(hostsToml, decidedBy, findings);
  const [fault] = findings.faults;
  // containerd logs it, and goes on as if the file were not there.
  if (table === undefined) {
    return { ...alone, decidedBy, problem: `${fault?.line}:${fault?.column}: ${fault?.message}` };
  }
  const hosts = tableOf(table["host"]);
  const mirrors = hostsInOrder(hostsToml).map((url) =>
    endpointOf(reference, url, tableOf(hosts[url]), false),
  );
  return { endpoints: [...mirrors, upstreamOf(reference, table)], decidedBy };
}

/** Hosts in the order of their tables; those without a table of their own containerd does not see. */
function hostsInOrder(text: string): readonly string[] {
  const headers = tomlStatements(text).filter(({ kind, key }) => {
    return kind === "header" && key[0] === "host" && key.length > 1;
  });
  return [...new Set(headers.flatMap(({ key }) => key[1] ?? []))];
}

function upstreamOf(reference: Reference, table: TomlTable): FollowedEndpoint {
  const { domain } = reference;
  const { server } = table;
  if (typeof server === "string" && server !== "") {
    return endpointOf(reference, server, table, true);
  }
  const isPlain = isLoopback(domain) && /:\d+$/.test(domain) && !domain.endsWith(":443");
  const isLocal = isLoopback(domain) && !domain.endsWith(":80");
  const origin = domain === "docker.io" ? "https://registry-1.docker.io" : `https://${domain}`;
  const url = isPlain ? `http://${domain}` : origin;
  return endpointOf(reference, url, { ...(isLocal ? { skip_verify: true } : {}), ...table }, true);
}

function endpointOf(
  reference: Reference,
  address: string,
  table: TomlTable,
  isUpstream: boolean,
): FollowedEndpoint {
  const base = /^http/.test(address) ? address : `https://${address}`;
  const [, origin = base, rawPath = ""] = /^(https?:\/\/[^/]*)(.*)$/.exec(base) ?? [];
  const path = rawPath.replace(/\/+$/, "");
  const isWhole = table["override_path"] === true || path.endsWith("/v2");
  const authorization = headerOf(table);
  return {
    url: manifestUrl(reference, origin, isWhole ? path : `${path}/v2`, reference.path),
    isUpstream,
    skipVerify: table["skip_verify"] === true,
    authorities: [table["ca"]].flat().filter((file) => typeof file === "string"),
    ...(authorization === undefined ? {} : { authorization }),
  };
}

function headerOf(table: TomlTable): Secret | undefined {
  const headers = Object.entries(tableOf(table["header"]));
  const [, value] = headers.find(([name]) => name.toLowerCase() === "authorization") ?? [];
  const [text] = [value].flat();
  return typeof text === "string" ? new Secret(text) : undefined;
}

/** A mirror is told the host that it stands for (`ns`); the host itself is not. */
function manifestUrl(
  reference: Reference,
  origin: string,
  path: string,
  repository: string,
): string {
  const host = origin.replace(/^https?:\/\//, "");
  const isItself =
    host === reference.domain ||
    (reference.domain === "docker.io" && host === "registry-1.docker.io");
  const query = isItself ? "" : `?ns=${encodeURIComponent(reference.domain)}`;
  return `${origin}${path}/${repository}/manifests/${tagOrDigest(reference)}${query}`;
}

/**
 * Which endpoints k3s and RKE2 have containerd ask for an image, in order, given their registries.yaml
 * (k3s, pkg/agent/containerd/config.go: `getHostConfigs`).
 *
 * @param text undefined when there is no such file
 */
export function followRegistriesYaml(reference: Reference, text: string | undefined): Followed {
  const findings = new Findings();
  const registries = parseRegistriesYaml(text ?? "", "registries.yaml", findings);
  const [fault] = findings.faults;
  const { mirrors, configs } = registries ?? { mirrors: {}, configs: {} };
  const key = mirrors[reference.domain] === undefined ? "*" : reference.domain;
  const mirror = mirrors[key];
  const repository = rewrite(reference.path, mirror?.rewrite ?? {});
  const urls = (mirror?.endpoint ?? []).map((endpoint) => {
    const { origin, path } = normalEndpoint(endpoint);
    return manifestUrl(reference, origin, path, repository);
  });
  const { url: upstream } = upstreamOf(reference, {});
  return {
    endpoints: [
      ...[...new Set(urls)].map((url) => withConfig(url, false, configs)),
      withConfig(upstream, true, configs),
    ],
    ...(mirror === undefined ? {} : { decidedBy: `mirrors.${key}` }),
    ...(fault === undefined ? {} : { problem: `${fault.line}:${fault.column}: ${fault.message}` }),
  };
}

/** The first rewrite that changes the name is taken. k3s has them in no certain order. */
function rewrite(path: string, rewrites: Readonly<Record<string, string>>): string {
  for (const [pattern, replacement] of Object.entries(rewrites)) {
    try {
      const changed = path.replace(new RegExp(pattern, "g"), replacement);
      if (changed !== path) return changed;
    } catch {
      // Go's expressions are not quite ours: one that we can't read changes nothing.
    }
  }
  return path;
}

function withConfig(
  url: string,
  isUpstream: boolean,
  configs: Readonly<Record<string, unknown>>,
): FollowedEndpoint {
  const host = /^https?:\/\/([^/]*)/.exec(url)?.[1] ?? "";
  const alias = host === "registry-1.docker.io" ? "docker.io" : host;
  const config = tableOf(configs[host] ?? configs[alias]);
  const tls = tableOf(config["tls"]);
  const { username, password } = tableOf(config["auth"]);
  const hasLogin = typeof username === "string" && typeof password === "string";
  return {
    url,
    isUpstream,
    skipVerify: tls["insecure_skip_verify"] === true,
    authorities: typeof tls["ca_file"] === "string" ? [tls["ca_file"]] : [],
    ...(hasLogin
      ? {
          authorization: new Secret(
            basicAuthorization({ username, password: new Secret(password) }),
          ),
        }
      : {}),
  };
}
