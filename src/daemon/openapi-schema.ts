/** A schema of JSON Schema 2020-12, as far as the document uses it. */
export interface Schema {
  readonly $ref?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly (string | null)[];
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** The schema of properties that have no name of their own; true where anything may come. */
  readonly additionalProperties?: Schema | boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly default?: string | number;
}

/** A text that is fit to print. */
export const text: Schema = { type: "string" };
/** A whole number, at least 0. */
export const count: Schema = { type: "integer", minimum: 0 };
/** Milliseconds since 1970, or how many passed. */
export const time: Schema = { type: "number" };
/** True or false. */
export const flag: Schema = { type: "boolean" };
/** That, or null. */
export const orNull = (schema: Schema): Schema => ({ anyOf: [schema, { type: "null" }] });
/** A list of those. */
export const list = (items: Schema): Schema => ({ type: "array", items });
/** One of the named schemas of the document. */
export const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
/** One of these words. */
export const oneOf = (...words: readonly string[]): Schema => ({ type: "string", enum: words });

/** An object that has these, and may have those. */
export function object(
  properties: Readonly<Record<string, Schema>>,
  optional: Readonly<Record<string, Schema>> = {},
): Schema {
  const required = Object.keys(properties);
  return { type: "object", properties: { ...properties, ...optional }, required };
}

/** An object with anything in it. */
export const anything: Schema = { type: "object", additionalProperties: true };
