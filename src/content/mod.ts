/**
 * Content on the move: the ports that registries and stores are reached through, verification, and
 * copying the graph of an image from one to the other.
 *
 * @module
 */
export type {
  CallOptions,
  Fetcher,
  Ingest,
  NamedContent,
  Resolver,
  Source,
  Store,
} from "./ports.ts";
