/**
 * Image names: reading them as people write them, one normal form, the places they lie in, and the
 * three ways in which a name is moved to another registry.
 *
 * Pure, and ignorant of why a name is moved: the rules for that are `plan`'s.
 *
 * @module
 */
export {
  canonicalDomain,
  contains,
  formatLocation,
  type Location,
  longestMatch,
  parseLocation,
  tryParseLocation,
} from "./location.ts";
export {
  formatReference,
  parseReference,
  type Reference,
  type ReferenceProblem,
  readReference,
  repositoryName,
  tagOrDigest,
} from "./reference.ts";
export { isAlreadyThere, prependRegistry, replacePrefix, replaceRegistry } from "./rewrite.ts";
