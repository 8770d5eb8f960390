import type { Findings, Place } from "#base";
import { type Reference, readReference } from "#reference";
import type { Node } from "./document.ts";
import { manifestDocuments, type Pack } from "./pack.ts";
import { readList, readMap, readText, reportUnknownKeys } from "./reader.ts";
import type { TemplateScope } from "./scope.ts";
import type { TextSource } from "./text-source.ts";
import { readReferenceNode } from "./wanted.ts";

/** A reference, and where it is declared: its key, or itself in a list. */
export interface PlacedReference {
  readonly reference: Reference;
  readonly place: Place;
}

/** Keys that Palette knows below `pack`; only near misses of them are worth a warning. */
const PACK_KEYS = [
  "namespace",
  "additionalNamespaces",
  "content",
  "releaseNameOverride",
  "namespaceLabels",
  "namespaceAnnotations",
] as const;
const CONTENT_KEYS = ["images", "charts", "namespace"] as const;

/** What a pack declares in `pack.content.images`, in the order of the file. */
export function readDeclaredImages(
  pack: Pack,
  scope: TemplateScope,
  findings: Findings,
): readonly PlacedReference[] {
  reportUnknownKeys(pack.values, ["pack", "charts", "manifests"], findings);
  const block = readMap(pack.values?.get("pack"), findings);
  reportUnknownKeys(block, PACK_KEYS, findings);
  const content = readMap(block?.get("content"), findings);
  reportUnknownKeys(content, CONTENT_KEYS, findings);
  return readList(content?.get("images"), findings).flatMap((item) => {
    const image = readImageItem(item, findings);
    const reference = image === undefined ? undefined : readReferenceNode(image, scope, findings);
    return image === undefined || reference === undefined
      ? []
      : [{ reference, place: image.declaredAt }];
  });
}

/** An entry is `{image: reference}`; a bare reference is understood as well. */
function readImageItem(item: Node, findings: Findings): Node | undefined {
  if (item.kind === "scalar") return item;
  if (item.kind === "list" && readMap(item, findings) === undefined) return undefined;
  reportUnknownKeys(item, ["image"], findings, "warning");
  const image = item.get("image");
  if (image !== undefined && readText(image, findings) !== undefined) return image;
  const isMisspelt = item.entries.some(({ key }) => key !== "image") && image === undefined;
  if (!isMisspelt && image?.kind !== "map" && image?.kind !== "list") {
    findings.warn(
      image?.place ?? item.place,
      "image-empty",
      "An entry of the image list is empty, so it brings no image",
      "Write - image: and a reference, or take the line out",
    );
  }
  return undefined;
}

/** Where a pack switches image redirection off for a namespace, which runtime mirrors can't honour. */
export function readSwapDisabledPlaces(pack: Pack): readonly Place[] {
  const labels = pack.values?.at("pack", "namespaceLabels");
  return (labels?.entries ?? [])
    .filter(({ value }) =>
      /(?:^|,)\s*stylus\.io\/imageswap\s*[=:]\s*disabled?\b/.test(value.text ?? ""),
    )
    .map(({ value }) => value.place);
}

/**
 * `image: x` as a key of YAML at the start of a line or in `{}`, or `"image": "x"` anywhere, as in JSON.
 */
const IMAGE_LINE =
  /(?:^[ \t]*(?:-[ \t]+)*["']?image["']?[ \t]*:[ \t]+|[{,][ \t]*image[ \t]*:[ \t]+|"image"[ \t]*:[ \t]*)(["']?)(?<image>[^\s"'#{}[\],]+)\1(?=[\s,}\]]|$)/dgm;
const NOT_AN_IMAGE = /^(?:true|false|null|~|[|>][+-]?|[&*!].*)$/;

/** Literal images in a manifest. It may be a template that no YAML parser reads, so it is read by lines. */
export function readManifestImages(manifest: TextSource): readonly PlacedReference[] {
  return [...manifest.text.matchAll(IMAGE_LINE)].flatMap((match) => {
    const text = match.groups?.["image"] ?? "";
    if (/^[{,]/.test(match[0]) && !isInBraces(manifest.text, match.index)) return [];
    const reference = NOT_AN_IMAGE.test(text) ? undefined : readReference(text);
    if (reference === undefined || !("domain" in reference)) return [];
    const offset = match.indices?.groups?.["image"]?.[0] ?? match.index;
    return [{ reference, place: manifest.place(offset, "") }];
  });
}

/** How far back it is looked for the brace that opens a mapping. */
const BRACES_LENGTH_MAX = 1_000;

/** Whether what stands at an offset is in the braces of its line, and in no comment: prose has commas too. */
function isInBraces(text: string, offset: number): boolean {
  const before = text.slice(Math.max(0, offset - BRACES_LENGTH_MAX), offset + 1);
  const line = before.slice(before.lastIndexOf("\n") + 1);
  return !/(?:^|\s)#/.test(line) && line.split("{").length > line.split("}").length;
}

/** The documents of a pack's manifests that mention a text; the cheap test before the parser. */
export function documentsMentioning(pack: Pack, text: string): readonly TextSource[] {
  return pack.manifests
    .filter((manifest) => manifest.text.includes(text))
    .flatMap(manifestDocuments)
    .filter((document) => document.text.includes(text));
}
