import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type Findings, isFailure, quoted, systemErrorCode } from "#base";
import {
  adviseContainerd,
  type HostFolder,
  hostFolders,
  isMarked,
  type Mirror,
  maskHostsToml,
  maskRegistriesYaml,
  mergeHostsToml,
  mergeRegistriesYaml,
  type RuntimeKind,
  removeMarked,
  unifiedDiff,
} from "#redirect";
import { BACKUP_SUFFIX, type FileEdit, readConfigFile, realConfigPath } from "#runtime";

/** A runtime, and the folder in which its mirrors are written. */
export interface RuntimeTarget {
  readonly runtime: RuntimeKind;
  readonly configDir: string;
}

/** An edit, and what of it can be shown: secrets are masked. */
export interface Edited {
  readonly edit: FileEdit;
  readonly change: "created" | "changed" | "removed" | "unchanged";
  readonly diff: string;
}

/** What a person must do next. */
export interface Advice {
  readonly text: string;
  /** Lines for a file. */
  readonly lines: readonly string[];
}

const CONFIG_DIRS: Readonly<Record<RuntimeKind, string>> = {
  containerd: "/etc/containerd/certs.d",
  k3s: "/etc/rancher/k3s",
  rke2: "/etc/rancher/rke2",
};

/** containerd's own configuration, where nobody says otherwise. */
export const CONTAINERD_CONFIG = "/etc/containerd/config.toml";

/** Where a runtime looks for mirrors when nobody says otherwise. */
export function defaultConfigDir(runtime: RuntimeKind): string {
  return CONFIG_DIRS[runtime];
}

/** The files that mirrors make, and those of earlier runs that no longer need them. */
export function editedFiles(
  target: RuntimeTarget,
  mirrors: readonly Mirror[],
  findings: Findings,
): readonly Edited[] {
  const authorities = authorityFiles(target, mirrors);
  if (target.runtime !== "containerd") {
    return [...authorities, ...registriesFile(target, mirrors, findings)];
  }
  const hosts = mirrors.flatMap((mirror) => hostsFile(target, mirror, findings));
  const wanted = oncePerFile(hosts, findings);
  const left = restoredHosts(target, findings).filter(({ edit }) => {
    return !wanted.has(realConfigPath(edit.path));
  });
  return [...authorities, ...wanted.values(), ...left];
}

/** Folders of hosts may be links to each other. What leads to one file is one edit, or can't be any. */
function oncePerFile(files: readonly Edited[], findings: Findings): ReadonlyMap<string, Edited> {
  const byFile = new Map<string, Edited>();
  for (const file of files) {
    const path = realConfigPath(file.edit.path);
    const first = byFile.get(path);
    if (first === undefined) byFile.set(path, file);
    else if (first.edit.after !== file.edit.after) reportShared(first, file, findings);
  }
  return byFile;
}

function reportShared(first: Edited, { edit: { path } }: Edited, findings: Findings): void {
  findings.fault(
    { file: path, line: 1, column: 1, path: "" },
    "redirect-shared-file",
    `Cannot write ${quoted(path)}: it is the same file as ${quoted(first.edit.path)}, and the mirrors of the two hosts differ`,
    "Give each host a folder and a hosts.toml of its own in place of the symbolic link",
  );
}

/** The files as they were before us. */
export function restoredFiles(target: RuntimeTarget, findings: Findings): readonly Edited[] {
  const authorities = authorityFiles(target, []);
  if (target.runtime === "containerd") {
    return [...oncePerFile(restoredHosts(target, findings), findings).values(), ...authorities];
  }
  const path = join(target.configDir, "registries.yaml");
  const restored = restoredFile(path, maskRegistriesYaml, findings);
  return [...(restored === undefined ? [] : [restored]), ...authorities];
}

function hostsFile(
  { configDir }: RuntimeTarget,
  mirror: Mirror,
  findings: Findings,
): readonly Edited[] {
  const folders = hostFolders(mirror.host).filter((name) => name !== "_default");
  // What containerd reads for this host already is where ours must go, or it would hide what is there.
  const name = folders.find((each) => readHostFolder(configDir, each) !== undefined) ?? mirror.host;
  const path = join(configDir, name, "hosts.toml");
  const own = readHostFolder(configDir, name);
  const fallback = readHostFolder(configDir, "_default");
  const before = readConfigFile(path);
  const after = mergeHostsToml(
    before,
    mirror,
    {
      file: path,
      authorityPath: (file) => `../_drayage/${file}`,
      replaced: {
        ...(own === undefined ? {} : { own }),
        ...(fallback === undefined ? {} : { fallback }),
      },
    },
    findings,
  );
  return after === undefined
    ? []
    : [editedFile(path, before, after, isSecret(mirror), maskHostsToml)];
}

function registriesFile(
  { configDir }: RuntimeTarget,
  mirrors: readonly Mirror[],
  findings: Findings,
): readonly Edited[] {
  const path = join(configDir, "registries.yaml");
  const before = readConfigFile(path);
  const authorityPath = (file: string) => join(configDir, "drayage", file);
  const after = mergeRegistriesYaml(before, mirrors, { file: path, authorityPath }, findings);
  if (after === undefined) return [];
  return [editedFile(path, before, after, mirrors.some(isSecret), maskRegistriesYaml)];
}

function isSecret({ endpoints }: Mirror): boolean {
  return endpoints.some(({ credential }) => credential !== undefined);
}

function editedFile(
  path: string,
  before: string | undefined,
  after: string | undefined,
  isSecret: boolean,
  mask: (text: string) => string,
): Edited {
  const isTheirs = before !== undefined && !isMarked(before);
  const isNew = before === undefined;
  // What was taken over from _default may have a password too.
  const hasSecret = isSecret || (isNew && after !== undefined && mask(after) !== after);
  const edit: FileEdit = {
    ...{ path, before, after, isSecret: hasSecret },
    backup: isTheirs ? "keep" : "none",
  };
  return describe(edit, mask);
}

function describe(edit: FileEdit, mask: (text: string) => string): Edited {
  const { path, before, after } = edit;
  const masked = (text: string | undefined) => (text === undefined ? undefined : mask(text));
  const diff = unifiedDiff(path, masked(before), masked(after));
  const change =
    before === after
      ? "unchanged"
      : before === undefined
        ? "created"
        : after === undefined
          ? "removed"
          : "changed";
  const isHidden = diff === "" && change !== "unchanged";
  return { edit, change, diff: isHidden ? `${path}: a secret changes\n` : diff };
}

/** Every hosts.toml below the folder that has something of ours, as it was without that. */
function restoredHosts({ configDir }: RuntimeTarget, findings: Findings): readonly Edited[] {
  return (listFolder(configDir) ?? []).flatMap((name) => {
    try {
      return restoredFile(join(configDir, name, "hosts.toml"), maskHostsToml, findings) ?? [];
    } catch (error) {
      // What is no text was not written by us.
      if (isFailure(error, "config-not-text")) return [];
      throw error;
    }
  });
}

function restoredFile(
  path: string,
  mask: (text: string) => string,
  findings: Findings,
): Edited | undefined {
  const before = readConfigFile(path);
  if (before === undefined || !isMarked(before)) return undefined;
  const rest = removeMarked(before, path, findings);
  if (rest === undefined) return undefined;
  const isOurs = rest === "" && readConfigFile(path + BACKUP_SUFFIX) === undefined;
  const after = isOurs ? undefined : rest;
  return describe({ path, before, after, isSecret: false, backup: "drop" }, mask);
}

/** Certificates lie beside the files that name them, in a folder that no host can be called. */
function authorityFiles(
  { runtime, configDir }: RuntimeTarget,
  mirrors: readonly Mirror[],
): readonly Edited[] {
  const folder = join(configDir, runtime === "containerd" ? "_drayage" : "drayage");
  const authorities = mirrors.flatMap(({ endpoints }) =>
    endpoints.flatMap(({ authority }) => (authority === undefined ? [] : [authority])),
  );
  const wanted = new Map(authorities.map(({ name, pem }) => [name, pem]));
  const names = new Set([...wanted.keys(), ...(listFolder(folder) ?? [])]);
  return [...names].sort().map((name) => {
    const path = join(folder, name);
    const before = readConfigFile(path);
    return describe(
      { path, before, after: wanted.get(name), isSecret: false, backup: "none" },
      (text) => text,
    );
  });
}

/** What must be done beside the files, by runtime. */
export function adviseRuntime(
  { runtime, configDir }: RuntimeTarget,
  mirrors: readonly Mirror[],
  files: readonly Edited[],
  containerdConfig: string,
): readonly Advice[] {
  if (runtime !== "containerd") {
    const isChanged = files.some(({ change }) => change !== "unchanged");
    const services = `systemctl restart ${runtime}${runtime === "k3s" ? "" : "-server"}`;
    const text = `restart ${runtime}, which reads registries.yaml when it starts alone: ${services} (on agents: ${runtime}-agent)`;
    return isChanged ? [{ text, lines: [] }] : [];
  }
  const text = readAdvised(containerdConfig);
  const advice = adviseContainerd(text, configDir);
  if (advice === undefined) return adviseLogins(mirrors, containerdConfig);
  const { problem, lines } = advice;
  return [
    ...adviseLogins(mirrors, containerdConfig),
    {
      text: `set config_path in ${containerdConfig} (${problem}) and restart containerd once; mirrors themselves need no restart`,
      lines,
    },
  ];
}

/**
 * containerd 1.6 gives the header of a hosts.toml to the registry and not to a token service (measured;
 * 2.x gives it to both). A Harbor takes the header itself.
 */
function adviseLogins(mirrors: readonly Mirror[], containerdConfig: string): readonly Advice[] {
  const logins = mirrors.flatMap(({ endpoints }) =>
    endpoints.flatMap(({ role, origin, credential }) =>
      role === "embedded" || credential === undefined
        ? []
        : [[origin.replace(/^https?:\/\//, ""), credential.username] as const],
    ),
  );
  return [...new Map(logins)].map(([host, username]) => ({
    text: `only if ${host} lets in nobody without a token and containerd is older than 2: put the login into ${containerdConfig} too, and restart containerd`,
    lines: [
      `[plugins."io.containerd.grpc.v1.cri".registry.configs.${JSON.stringify(host)}.auth]`,
      `  username = ${JSON.stringify(username)}`,
      '  password = "…"',
    ],
  }));
}

/** A configuration that this user may not read is as good as none: the advice is the same. */
function readAdvised(path: string): string | undefined {
  try {
    return readConfigFile(path);
  } catch (error) {
    if (isFailure(error)) return undefined;
    throw error;
  }
}

/** What lies in the folder of a host below containerd's folder of mirrors; undefined when there is none. */
export function readHostFolder(configDir: string, name: string): HostFolder | undefined {
  const names = listFolder(join(configDir, name));
  if (names === undefined) return undefined;
  const hostsToml = readConfigFile(join(configDir, name, "hosts.toml"));
  return { files: names, ...(hostsToml === undefined ? {} : { hostsToml }) };
}

/** Names in a folder, sorted; undefined when there is no such folder. */
function listFolder(path: string): readonly string[] | undefined {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
