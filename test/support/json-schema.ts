import type { Schema } from "../../src/daemon/openapi-schema.ts";

/** What a schema of the document may say; anything else is a mistake in the document. */
const KEYWORDS: ReadonlySet<string> = new Set([
  ...["$ref", "description", "type", "enum", "anyOf", "items", "properties", "required"],
  ...["additionalProperties", "minimum", "maximum", "default"],
]);

/**
 * Where a value is not as its schema says, each as `path: what`. Stricter than JSON Schema in one thing: an
 * object has no property but those named, unless `additionalProperties` says so. A document that forgets a
 * field is found by it.
 *
 * @throws {Error} for a schema that uses more than the document may
 */
export function schemaProblems(
  value: unknown,
  schema: Schema,
  schemas: Readonly<Record<string, Schema>>,
  path = "$",
): readonly string[] {
  for (const key of Object.keys(schema)) {
    if (!KEYWORDS.has(key)) throw new Error(`The schema at ${path} says ${key}`);
  }
  if (schema.$ref !== undefined) {
    const target = schemas[schema.$ref.replace("#/components/schemas/", "")];
    if (target === undefined) throw new Error(`The schema at ${path} names ${schema.$ref}`);
    return schemaProblems(value, target, schemas, path);
  }
  if (schema.anyOf !== undefined) {
    const found = schema.anyOf.map((each) => schemaProblems(value, each, schemas, path));
    // Of those that all differ, the one that says most is the one that was meant.
    return found.some((problems) => problems.length === 0)
      ? []
      : found.reduce((a, b) => (b.length > a.length ? b : a));
  }
  const type = typeProblem(value, schema);
  if (type !== undefined) return [`${path}: ${type}`];
  return [
    ...rangeProblems(value, schema, path),
    ...itemProblems(value, schema, schemas, path),
    ...propertyProblems(value, schema, schemas, path),
  ];
}

function typeProblem(value: unknown, { type, enum: words }: Schema): string | undefined {
  const types = type === undefined ? [] : typeof type === "string" ? [type] : type;
  if (types.length > 0 && !types.some((each) => isOf(value, each))) {
    return `${JSON.stringify(value)?.slice(0, 60)} is not of type ${types.join(" or ")}`;
  }
  if (words !== undefined && !(words as readonly unknown[]).includes(value)) {
    return `${JSON.stringify(value)} is not one of ${words.join(", ")}`;
  }
  return undefined;
}

function isOf(value: unknown, type: string): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "integer":
      return Number.isSafeInteger(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
    case "string":
      return typeof value === "string";
    case "number":
      return typeof value === "number";
    case "boolean":
      return typeof value === "boolean";
    default:
      throw new Error(`There is no type ${type}`);
  }
}

function rangeProblems(value: unknown, { minimum, maximum }: Schema, path: string): string[] {
  if (typeof value !== "number") return [];
  if (minimum !== undefined && value < minimum) return [`${path}: ${value} is below ${minimum}`];
  if (maximum !== undefined && value > maximum) return [`${path}: ${value} is above ${maximum}`];
  return [];
}

function itemProblems(
  value: unknown,
  { items }: Schema,
  schemas: Readonly<Record<string, Schema>>,
  path: string,
): readonly string[] {
  if (!Array.isArray(value) || items === undefined) return [];
  return value.flatMap((each, i) => schemaProblems(each, items, schemas, `${path}[${i}]`));
}

function propertyProblems(
  value: unknown,
  { properties, required = [], additionalProperties }: Schema,
  schemas: Readonly<Record<string, Schema>>,
  path: string,
): readonly string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
  const named = properties ?? {};
  const missing = required
    .filter((key) => !(key in value))
    .map((key) => `${path}.${key}: it is missing`);
  const rest = Object.entries(value).flatMap(([key, each]) => {
    const own = named[key];
    if (own !== undefined) return schemaProblems(each, own, schemas, `${path}.${key}`);
    if (additionalProperties === true || (properties === undefined && !additionalProperties)) {
      return [];
    }
    return typeof additionalProperties === "object"
      ? schemaProblems(each, additionalProperties, schemas, `${path}.${key}`)
      : [`${path}.${key}: the document does not have it`];
  });
  return [...missing, ...rest];
}
