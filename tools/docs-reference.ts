import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { SITE_SECTIONS, type SiteKey, type SiteSection } from "./site-reference.ts";
import { ROOT } from "./step.ts";

/** Where the reference of the site file lies. */
export const CONFIGURATION: string = join(ROOT, "docs", "configuration.md");

const OPENING = `# The site file

Made by \`bun tools/docs-reference.ts\` from \`tools/site-reference.ts\`, which the tests compare with what the program reads. Edit there.

The site file says what belongs to this site and to no profile. It is YAML, every key has a default, and a file with nothing in it is one. A key that is not listed here is a fault, so that no word is lost. Paths are relative to the file. [site.example.yaml](../deploy/site.example.yaml) is one to start from.

- **A time** is a whole number and \`s\`, \`m\`, \`h\` or \`d\`; without a unit, seconds.
- **A rate** is a number and a unit per second: bits as \`bit\`, \`kbit\`, \`Mbit\`, \`Gbit\`; bytes as \`B\`, \`kB\`, \`MB\`, \`GB\`, \`TB\` (decimal) or \`KiB\`, \`MiB\`, \`GiB\`, \`TiB\`. \`/s\` may follow. A bare number is refused: it doesn't say whether it means bits.
- **A size** is bytes, or a number with one of the units for bytes.
`;

/** The reference of the site file as a page. */
export function configurationPage(): string {
  return `${[OPENING, ...SITE_SECTIONS.map(section)].join("\n")}`;
}

function section({ path, about, keys }: SiteSection): string {
  const title = path === "" ? "The file" : `\`${path}\``;
  const rows = keys.map(row).join("\n");
  const text = about === "" ? "" : `${about}\n\n`;
  return `## ${title}\n\n${text}| key | takes | default | is |\n|---|---|---|---|\n${rows}\n`;
}

function row({ name, takes, otherwise, means }: SiteKey): string {
  const [, prose] = /^\((.*)\)$/.exec(otherwise) ?? [];
  return `| \`${name}\` | ${takes} | ${prose ?? `\`${otherwise}\``} | ${means} |`;
}

if (import.meta.main) await writeFile(CONFIGURATION, configurationPage());
