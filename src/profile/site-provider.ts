import { type Findings, nearest, quoted } from "#base";
import type { Node } from "./document.ts";
import {
  readBoolean,
  readChoice,
  readList,
  readMap,
  readText,
  reportUnknownKeys,
} from "./reader.ts";
import { readDuration } from "./site-local-registry.ts";

/** In what form the operating system gets its image. */
export type HandOverForm = "none" | "oci" | "oci-archive" | "rootfs" | "reference";

/** What is done with the provider image once it is complete. */
export interface SiteProvider {
  readonly coreImages: {
    readonly enabled: boolean;
    /** Of the image, absolute, `*` for a part of a name; undefined for those that systems are known to use. */
    readonly folders: readonly string[] | undefined;
  };
  readonly handOver: HandOverSettings;
}

/** How the provider image gets to the operating system. */
export interface HandOverSettings {
  readonly form: HandOverForm;
  /** Where the form is made; undefined for `none` and `reference`, which need no place. */
  readonly path: string | undefined;
  /** A program and its words, with placeholders (see {@link fillPlaceholders}); empty: nothing is run. */
  readonly command: readonly string[];
  /** How long the command may run, in milliseconds; 0: as long as it likes. */
  readonly timeoutMs: number;
}

/** What holds where the site file says nothing. */
export const DEFAULT_SITE_PROVIDER: SiteProvider = {
  coreImages: { enabled: true, folders: undefined },
  handOver: { form: "none", path: undefined, command: [], timeoutMs: 3_600_000 },
};

const FORMS = ["none", "oci", "oci-archive", "rootfs", "reference"] as const;

/**
 * What each form gives a command to name. `source` is what `kairos-agent upgrade --source` takes, which
 * has no word for an OCI layout.
 */
const PLACEHOLDERS: Readonly<Record<Exclude<HandOverForm, "none">, readonly string[]>> = {
  oci: ["path", "image", "digest"],
  "oci-archive": ["source", "path", "image", "digest"],
  rootfs: ["source", "path", "image", "digest"],
  reference: ["source", "reference", "image", "digest"],
};

const PLACEHOLDER = /\{([a-z]+)\}/g;

/** Reads `provider:` of the site file. */
export function readSiteProvider(
  node: Node | undefined,
  beside: (path: string) => string,
  findings: Findings,
): SiteProvider {
  const provider = readMap(node, findings);
  reportUnknownKeys(provider, ["coreImages", "handOver"], findings, "fault");
  return {
    coreImages: readCoreImages(provider?.get("coreImages"), findings),
    handOver: readHandOver(provider?.get("handOver"), beside, findings),
  };
}

function readCoreImages(node: Node | undefined, findings: Findings): SiteProvider["coreImages"] {
  const settings = readMap(node, findings);
  reportUnknownKeys(settings, ["enabled", "folders"], findings, "fault");
  const folders = settings?.get("folders");
  return {
    enabled: readBoolean(
      settings?.get("enabled"),
      DEFAULT_SITE_PROVIDER.coreImages.enabled,
      findings,
    ),
    folders:
      folders === undefined || folders.kind === "null"
        ? undefined
        : readList(folders, findings).flatMap((item) => readFolder(item, findings) ?? []),
  };
}

function readFolder(node: Node, findings: Findings): string | undefined {
  const folder = readText(node, findings);
  if (folder === undefined) return undefined;
  if (/^\/(?!\/*$)/.test(folder) && !folder.split("/").includes("..")) return folder;
  findings.fault(
    node.place,
    "folder-invalid",
    `Cannot look for core images in ${quoted(folder)}: expected a folder of the provider image, from its root`,
    'Write it like "/var/lib/rancher/rke2/agent/images"',
  );
  return undefined;
}

function readHandOver(
  node: Node | undefined,
  beside: (path: string) => string,
  findings: Findings,
): HandOverSettings {
  const { handOver: unset } = DEFAULT_SITE_PROVIDER;
  const settings = readMap(node, findings);
  if (settings === undefined) return unset;
  reportUnknownKeys(settings, ["form", "path", "command", "timeout"], findings, "fault");
  const form = readChoice(settings.get("form"), FORMS, findings) ?? unset.form;
  const isFormRead = settings.get("form") === undefined || form !== unset.form;
  const command = readCommand(settings.get("command"), form, findings);
  const path = readPath(settings, form, beside, findings);
  const timeoutMs = readDuration(settings.get("timeout"), findings) ?? unset.timeoutMs;
  if (form !== "none") return { form, path, command, timeoutMs };
  if (isFormRead && command.length > 0) {
    findings.fault(
      settings.get("command")?.place ?? settings.place,
      "form-missing",
      "Cannot run the command: provider.handOver.form is not set, expected the form that it is given",
      `Set form to one of ${FORMS.join(", ")}; with "none" nothing is handed over, and nothing run`,
    );
  }
  return unset;
}

function readPath(
  settings: Node,
  form: HandOverForm,
  beside: (path: string) => string,
  findings: Findings,
): string | undefined {
  const node = settings.get("path");
  const text = readText(node, findings);
  if (form === "none" || form === "reference") {
    if (form === "reference" && node !== undefined && text !== undefined) {
      findings.warn(
        node.place,
        "path-unused",
        `Nothing is made at ${quoted(text)}: the form "reference" is the image in the embedded registry`,
        "Take path out, or choose another form",
      );
    }
    return undefined;
  }
  const path = text === undefined ? undefined : beside(text).replace(/(?<=.)\/+$/, "");
  if (path !== undefined && !/^[./]*$/.test(path)) return path;
  findings.fault(
    node?.place ?? settings.place,
    "path-missing",
    path === undefined
      ? `Cannot hand over the provider image as "${form}": there is no path`
      : `Cannot hand over the provider image at ${quoted(path)}: expected a place of its own`,
    form === "oci-archive" ? "Set path to a file" : "Set path to a folder that is not there yet",
  );
  return undefined;
}

function readCommand(
  node: Node | undefined,
  form: HandOverForm,
  findings: Findings,
): readonly string[] {
  return readList(node, findings).flatMap((item, position) => {
    const word = item.kind === "scalar" || item.kind === "null" ? (item.text ?? "") : undefined;
    if (word === undefined || word.includes("\0") || (word === "" && position === 0)) {
      findings.fault(
        item.place,
        "command-invalid",
        "Cannot run the command: expected a list of texts, the program first",
        'Write it like ["kairos-agent", "upgrade", "--source", "{source}"]',
      );
      return [];
    }
    reportPlaceholders(word, item, form, findings);
    return [word];
  });
}

function reportPlaceholders(
  word: string,
  { place }: Node,
  form: HandOverForm,
  findings: Findings,
): void {
  if (form === "none") return;
  const known = PLACEHOLDERS[form];
  for (const [text, name = ""] of word.matchAll(PLACEHOLDER)) {
    if (known.includes(name)) continue;
    const meant = nearest(name, known);
    findings.fault(
      place,
      "placeholder-unknown",
      `Cannot fill in ${quoted(text)}: the form "${form}" has no such value`,
      meant === undefined
        ? `With this form there are ${known.map((each) => `{${each}}`).join(", ")}`
        : `Did you mean "{${meant}}"?`,
    );
  }
}

/**
 * The words of a command with its placeholders filled in. What stands in braces and is no placeholder
 * stays; what is filled in is not looked through again.
 */
export function fillPlaceholders(
  command: readonly string[],
  values: Readonly<Record<string, string>>,
): readonly string[] {
  return command.map((word) =>
    word.replace(PLACEHOLDER, (text, name: string) =>
      Object.hasOwn(values, name) ? (values[name] ?? text) : text,
    ),
  );
}
