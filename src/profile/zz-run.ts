import { readdirSync, readFileSync } from "node:fs";
import { Findings } from "#base";
import { formatReference } from "#reference";
import { createMemoryFiles } from "#test-support/memory-files";
import { readClusterInputs } from "#profile";
export function run(contents: Record<string, string|Uint8Array>, names: any = { profiles: ["p.yaml"] }) {
  const f = new Findings();
  const inputs = readClusterInputs(names, createMemoryFiles(contents), f);
  const show = (k: string, list: any) => { for (const x of list) console.log(`  ${k} ${x.file}:${x.line}:${x.column} [${x.path}] ${x.code}: ${x.message} | ${x.remedy}`); };
  show("FAULT", f.faults); show("warn", f.warnings);
  return { inputs, f };
}
export const OS = "    - name: edge-native-byoi\n      layer: os\n      version: 1\n      values: |\n        options:\n          system.uri: quay.io/k/core:v1\n";
if (import.meta.main) {
  const dir = "test/fixtures/packs";
  for (const p of readdirSync(dir)) {
    const files: Record<string, any> = { "p.yaml": `spec:\n  template:\n    packs:\n${OS.replace(/^/gm,"")}      \n    - path: packs/${p}\n`.replace("\n      \n","\n") };
    const walk = (d: string, to: string) => { for (const e of readdirSync(d, { withFileTypes: true })) e.isDirectory() ? walk(`${d}/${e.name}`, `${to}/${e.name}`) : files[`${to}/${e.name}`] = readFileSync(`${d}/${e.name}`); };
    walk(`${dir}/${p}`, `packs/${p}`);
    console.log("==", p);
    const { inputs } = run(files);
    for (const i of inputs.images) console.log("   ", formatReference(i.reference), i.pack, i.layer, `${i.place.file}:${i.place.line}:${i.place.column} ${i.place.path}`);
    console.log("   manifest:", inputs.manifestImages.map(m => formatReference(m.reference) + `@${m.place.line}:${m.place.column}`).join(" "));
  }
}
