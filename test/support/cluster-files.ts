import { type Finding, Findings } from "#base";
import { type ClusterInputs, type InputNames, readClusterInputs } from "#profile";
import { createMemoryFiles, type MemoryContents } from "#test-support/memory-files";

/** What was read, and what there was to say about it, each as `file:line:column code`. */
export interface ReadCluster {
  readonly inputs: ClusterInputs;
  readonly faults: readonly string[];
  readonly warnings: readonly string[];
  /** All that a person would be shown. */
  readonly shown: string;
}

/** The infrastructure that every cluster needs, as an entry of a profile's packs: 6 lines. */
export const OS_PACK = `    - name: edge-native-byoi
      layer: os
      version: 2.1.0
      values: |
        options:
          system.uri: quay.io/kairos/core:v1
`;

/** A profile in YAML whose packs are the given entries, each indented by 4. Packs begin in line 4. */
export function profileOf(...packs: readonly string[]): string {
  return `spec:\n  template:\n    packs:\n${packs.join("")}`;
}

/** An add-on pack with these values, as an entry of a profile's packs. Values begin in its line 4. */
export function addOn(values: string, name = "app"): string {
  return packOf({ name, layer: "addon" }, values);
}

/** A pack with these values, as an entry of a profile's packs. Values begin in its line 4, column 9. */
export function packOf(head: { readonly name: string; readonly layer: string }, values: string) {
  return `    - name: ${head.name}\n      layer: ${head.layer}\n      values: |\n${indent(values, 8)}`;
}

/** An add-on of one manifest, as an entry of a profile's packs. The manifest begins in its line 6. */
export function manifestPack(manifest: string): string {
  const head = "    - name: secrets\n      layer: addon\n      manifests:\n        - name: m\n";
  return `${head}          content: |\n${indent(manifest, 12)}`;
}

/** Each line that isn't empty moved to the right. */
export function indent(text: string, columns: number): string {
  return text.replace(/^(?=[^\n])/gm, " ".repeat(columns));
}

/** Reads a cluster out of memory; by default the profile `profile.yaml`. */
export function readCluster(
  contents: MemoryContents,
  names: Partial<InputNames> = {},
): ReadCluster {
  const findings = new Findings();
  const files = createMemoryFiles(contents);
  const inputs = readClusterInputs({ profiles: ["profile.yaml"], ...names }, files, findings);
  const { faults, warnings } = findings;
  return {
    inputs,
    faults: listed(faults),
    warnings: listed(warnings),
    get shown() {
      return JSON.stringify([inputs, faults, warnings]);
    },
  };
}

/** Findings as `file:line:column code`. */
export function listed(findings: readonly Finding[]): readonly string[] {
  return findings.map(({ file, line, column, code }) => `${file}:${line}:${column} ${code}`);
}
