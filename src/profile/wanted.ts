import { type Findings, type Place, quoted } from "#base";
import { type Reference, readReference } from "#reference";
import type { Node } from "./document.ts";
import type { Layer } from "./layer.ts";
import type { TemplateScope } from "./scope.ts";
import { withoutSecrets } from "./sensitive.ts";

/** An image that something declares, once for each place that does. */
export interface WantedImage {
  readonly reference: Reference;
  /** The pack that declares it; undefined for the site file's own and for `--images`. */
  readonly pack: string | undefined;
  readonly layer: Layer;
  /** It is the provider image: the operating system with Kubernetes in it. */
  readonly isProvider: boolean;
  readonly place: Place;
}

/** Reads a reference out of a node, its templates filled in; a fault with the exact column when it is none. */
export function readReferenceNode(
  node: Node,
  scope: TemplateScope,
  findings: Findings,
): Reference | undefined {
  const text = scope.resolve(node);
  if (text === undefined) return undefined;
  const trimmed = text.trim();
  const result = readReference(trimmed);
  if ("domain" in result) return result;
  const isLiteral = text === node.text;
  const place = isLiteral ? node.placeWithin(text.indexOf(trimmed) + result.offset) : node.place;
  const made = isLiteral ? "" : ` (made from ${quoted(withoutSecrets(node.text ?? ""), 120)})`;
  findings.fault(
    place,
    "reference-invalid",
    `Cannot read image reference ${quoted(withoutSecrets(trimmed))}${made}: ${result.message}`,
    'Write it like "quay.io/team/app:1.2.3" or "quay.io/team/app@sha256:…"',
  );
  return undefined;
}
