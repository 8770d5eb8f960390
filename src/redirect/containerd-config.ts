import { Findings } from "#base";
import { tableOf } from "./hosts-toml.ts";
import { parseToml, type TomlTable } from "./toml-text.ts";

/** What must change in containerd's own configuration, and which lines do it. */
export interface ContainerdAdvice {
  readonly problem: string;
  readonly lines: readonly string[];
}

/** The plugin that pulls for kubelet, by version of the configuration. */
const PLUGINS: Readonly<Record<number, string>> = {
  1: "cri",
  2: "io.containerd.grpc.v1.cri",
  3: "io.containerd.cri.v1.images",
};

/**
 * Whether containerd reads mirrors from a folder, by its config.toml. Undefined when it does.
 *
 * Settings of files that `imports` names are not seen.
 *
 * @param text undefined when there is no such file: containerd then has its defaults
 */
export function adviseContainerd(
  text: string | undefined,
  configDir: string,
): ContainerdAdvice | undefined {
  const findings = new Findings();
  const table = parseToml(text ?? "", "config.toml", findings);
  const [fault] = findings.faults;
  if (table === undefined) {
    return { problem: `it can't be read: ${fault?.message} (line ${fault?.line})`, lines: [] };
  }
  const version = versionOf(table, text);
  const plugin = PLUGINS[version] ?? "";
  const registry = tableOf(tableOf(tableOf(table["plugins"])[plugin])["registry"]);
  const key = `[plugins.${version === 1 ? plugin : `"${plugin}"`}.registry]`;
  const lines = [
    ...(table["version"] === undefined && version !== 1 ? [`version = ${version}`, ""] : []),
    key,
    `  config_path = ${JSON.stringify(configDir)}`,
  ];
  if (Object.keys(tableOf(registry["mirrors"])).length > 0) {
    return {
      problem: `it has ${key.slice(1, -1)}.mirrors, with which containerd does not take config_path`,
      lines: [`# remove the tables of ${key.slice(1, -1)}.mirrors`, ...lines],
    };
  }
  const { config_path: path } = registry;
  const folders = typeof path === "string" ? path.split(":") : [];
  if (folders.some((folder) => folder.replace(/\/+$/, "") === configDir)) return undefined;
  const found = folders.length === 0 ? "it has none" : `it is ${JSON.stringify(path)}`;
  return { problem: `config_path of the CRI plugin must be ${configDir}, and ${found}`, lines };
}

/** A file that is not there is best begun in the version that all of containerd 1.3 to 2.x read. */
function versionOf(table: TomlTable, text: string | undefined): number {
  const { version } = table;
  if (typeof version === "number" || typeof version === "bigint") return Number(version);
  return text === undefined || text.trim() === "" ? 2 : 1;
}
