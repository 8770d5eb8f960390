import { Findings, nearest, type Place, printable } from "#base";
import type { Node } from "./document.ts";
import {
  callFunction,
  type Expression,
  isTemplate,
  parseTemplate,
  type TemplateProblem,
} from "./template.ts";

/** Where the values of template paths come from; each undefined when there is no such thing. */
export interface TemplateValues {
  /** The value at a dotted path of a pack's values, by the pack's name. */
  packValue(name: string, keys: readonly string[]): Node | undefined;
  readonly packNames: readonly string[];
  /** `.spectro.system.<name>`, e.g. `kubernetes.version`. */
  system(name: string): string | undefined;
  /** `.spectro.var.<name>` and `.spectro.macro.<name>`. */
  variable(name: string): string | undefined;
  macro(name: string): string | undefined;
}

/** How long a template and what it gives may get: bounds templates that multiply themselves. */
const VALUE_LENGTH_MAX = 8_192;

/**
 * Fills in templates. A pack's values may be templates themselves, so paths are followed until plain
 * text is left; a path that leads back to itself is a fault. What is not defined and has no default
 * becomes empty, as in Palette, with a warning at the place where it was asked for.
 */
export class TemplateScope {
  readonly #values: TemplateValues;
  readonly #findings: Findings;
  /** Pack values that were filled in before: without it, values of values multiply the work. */
  readonly #filled = new Map<string, string | undefined>();

  constructor(values: TemplateValues, findings: Findings) {
    this.#values = values;
    this.#findings = findings;
  }

  /** The text of a node with its templates filled in; undefined when that can't be (a fault says why). */
  resolve(node: Node): string | undefined {
    const text = node.text;
    if (text === undefined || !isTemplate(text)) return text;
    return this.#fill(text, (offset) => node.placeWithin(offset), []);
  }

  /**
   * {@link resolve} for a credential: what is in it is told to nobody, not even what is wrong with it.
   * What is not defined is a fault here, for no credential is meant to be empty.
   */
  resolveSecret(node: Node): string | undefined {
    const unseen = new Findings();
    const text = new TemplateScope(this.#values, unseen).resolve(node);
    for (const { code, message, remedy, ...place } of unseen.warnings)
      this.#findings.fault(place, code, `Cannot use the credential: ${message}`, remedy);
    if (unseen.hasFaults) this.#report(secretTemplate(), (offset) => node.placeWithin(offset));
    return unseen.warnings.length > 0 ? undefined : text;
  }

  #fill(
    text: string,
    placeAt: (offset: number) => Place,
    trail: readonly string[],
  ): string | undefined {
    if (text.length > VALUE_LENGTH_MAX) return this.#report(tooLong(0), placeAt);
    const parts = parseTemplate(text);
    if (!isParts(parts)) return this.#report(parts, placeAt);
    let filled = "";
    for (const part of parts) {
      if (part.kind === "text") {
        filled += part.text;
        continue;
      }
      const value = this.#evaluate(part.expression, placeAt, trail);
      if (typeof value === "object") return this.#report(value, placeAt);
      if (value === undefined) return undefined;
      if (value === MISSING) this.#warnUndefined(part.expression, placeAt(part.offset));
      filled += value === MISSING ? "" : value;
      if (filled.length > VALUE_LENGTH_MAX) return this.#report(tooLong(part.offset), placeAt);
    }
    return filled;
  }

  /** A value, {@link MISSING}, a problem to report here, or undefined when it was reported already. */
  #evaluate(
    expression: Expression,
    placeAt: (offset: number) => Place,
    trail: readonly string[],
  ): string | typeof MISSING | TemplateProblem | undefined {
    if (expression.kind === "literal") return String(expression.value);
    if (expression.kind === "path") return this.#follow(expression, trail);
    const args: string[] = [];
    for (const arg of expression.args) {
      const value = this.#evaluate(arg, placeAt, trail);
      if (value === undefined || typeof value === "object") return value;
      if (value === MISSING && expression.name !== "default")
        this.#warnUndefined(arg, placeAt(arg.offset));
      args.push(value === MISSING ? "" : value);
    }
    return callFunction(expression.name, args, expression.offset);
  }

  #follow(
    { path, offset }: { readonly path: string; readonly offset: number },
    trail: readonly string[],
  ): string | typeof MISSING | TemplateProblem | undefined {
    if (trail.includes(path)) return loop([...trail, path], offset);
    const [, family, name] = /^\.spectro\.(pack|system|var|macro)\.(.+)$/s.exec(path) ?? [];
    if (family === undefined || name === undefined) return unknownPath(path, offset);
    if (family === "pack") {
      const node = this.#packValue(name);
      if (node === undefined || node.kind === "null") return MISSING;
      const text = node.text;
      if (text === undefined) return notText(path, offset);
      if (!isTemplate(text)) return text;
      if (!this.#filled.has(path)) {
        const filled = this.#fill(text, (at) => node.placeWithin(at), [...trail, path]);
        this.#filled.set(path, filled);
      }
      return this.#filled.get(path);
    }
    const value =
      family === "system"
        ? this.#values.system(name)
        : family === "var"
          ? this.#values.variable(name)
          : this.#values.macro(name);
    return value ?? MISSING;
  }

  /** Pack names may hold dots, so the longest pack name that fits is taken off first. */
  #packValue(dotted: string): Node | undefined {
    const name = this.#values.packNames
      .filter((candidate) => dotted.startsWith(`${candidate}.`))
      .reduce(
        (longest, candidate) => (candidate.length > longest.length ? candidate : longest),
        "",
      );
    if (name === "") return undefined;
    return this.#values.packValue(name, dotted.slice(name.length + 1).split("."));
  }

  #warnUndefined(expression: Expression, place: Place): void {
    const name = expression.kind === "path" ? expression.path : "the value";
    const meant = /^\.spectro\.pack\.([^.]+)/.exec(name)?.[1];
    const { packNames } = this.#values;
    const isOfPack = meant !== undefined && !packNames.includes(meant);
    this.#findings.warn(
      place,
      "template-undefined",
      `${printable(name)} is not defined and has no default, so it is left empty`,
      isOfPack
        ? packHint(meant, packNames)
        : `Give it with --var ${variableName(name)}=…, or write a default`,
    );
  }

  #report(problem: TemplateProblem, placeAt: (offset: number) => Place): undefined {
    this.#findings.fault(placeAt(problem.offset), problem.code, problem.message, problem.remedy);
    return undefined;
  }
}

const MISSING = Symbol("not defined");

function isParts<T>(value: readonly T[] | TemplateProblem): value is readonly T[] {
  return Array.isArray(value);
}

/**
 * Follows a dotted path through values in which keys may hold dots themselves: at each level the
 * whole rest is tried as one key first (`options: {"system.uri": …}`), then ever shorter beginnings.
 */
export function findDotted(node: Node, keys: readonly string[]): Node | undefined {
  if (keys.length === 0) return node;
  for (let count = keys.length; count > 0; count -= 1) {
    const child = node.get(keys.slice(0, count).join("."));
    const found = child === undefined ? undefined : findDotted(child, keys.slice(count));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** How many packs a hint names. */
const HINT_PACKS_MAX = 10;

function packHint(name: string, packNames: readonly string[]): string {
  const near = nearest(name, packNames);
  if (near !== undefined) return `Did you mean the pack "${printable(near)}"?`;
  const shown = packNames.slice(0, HINT_PACKS_MAX).map((pack) => printable(pack, 80));
  const rest = packNames.length - shown.length;
  return `There is no such pack; there are ${shown.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}

function variableName(path: string): string {
  return printable(path.replace(/^\.spectro\.(?:var|macro)\./, "").replace(/^\./, ""));
}

function loop(trail: readonly string[], offset: number): TemplateProblem {
  return {
    code: "template-loop",
    message: `Cannot fill in the template: it leads back to itself: ${trail.map((path) => printable(path)).join(" → ")}`,
    remedy: "Give one of these values as plain text",
    offset,
  };
}

function unknownPath(path: string, offset: number): TemplateProblem {
  return {
    code: "template-syntax",
    message: `Cannot fill in the template: "${printable(path)}" is no path that is known`,
    remedy: "Use .spectro.pack.…, .spectro.system.…, .spectro.var.… or .spectro.macro.…",
    offset,
  };
}

function notText(path: string, offset: number): TemplateProblem {
  return {
    code: "template-syntax",
    message: `Cannot fill in the template: "${printable(path)}" is a mapping or list, expected a text`,
    remedy: "Name one of the values inside it",
    offset,
  };
}

function secretTemplate(): TemplateProblem {
  return {
    code: "template-syntax",
    message: "Cannot fill in the template in a secret value",
    remedy:
      'Write it like "{{ .spectro.macro.name }}"; a password that holds {{ can be a macro itself',
    offset: 0,
  };
}

function tooLong(offset: number): TemplateProblem {
  return {
    code: "template-syntax",
    message: `Cannot fill in the template: it is longer than ${VALUE_LENGTH_MAX} characters`,
    remedy: "Check for values that repeat each other",
    offset,
  };
}
