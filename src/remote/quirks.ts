/** How a registry wants blobs to be sent (C-108). Sizes are bytes. */
export interface PushHabit {
  /** What it takes: blobs whole in one PUT, in chunks by PATCH, or as we like. */
  readonly takes: "whole" | "chunks" | "either";
  /** Chunks may be no larger. */
  readonly chunkBytesMax?: number;
  /** Chunks but the last may be no smaller. */
  readonly chunkBytesMin?: number;
  /** Blobs may be no larger in one PUT; others go in chunks. */
  readonly wholeBytesMax?: number;
  /** The last chunk goes into the PUT that ends the upload, which must not be empty. */
  readonly endsWithLastChunk?: boolean;
  /** What it says of how far an upload is may be less than what it has. */
  readonly saysTooLittle?: boolean;
}

/** A registry that is known by its host or by what its answers say, and its habit. */
export interface Quirk {
  readonly name: string;
  /** Of the host, without its port. */
  readonly host?: RegExp;
  /** A header of its answers, and what it says. */
  readonly header?: { readonly name: string; readonly value: RegExp };
  readonly habit: PushHabit;
}

const MIB = 1024 * 1024;

/**
 * Registries that can't be pushed to as any other, and the reports that say so. Who is not here takes
 * both until it refuses one, which is remembered for its host: Harbor, GitLab and Docker Hub are
 * distribution, which does.
 */
export const QUIRKS: readonly Quirk[] = [
  {
    // No chunked upload (Google's documentation; dotnet/sdk-container-builds#287, kitops#777).
    name: "Google Artifact Registry",
    host: /(?:^|\.)(?:pkg\.dev|gcr\.io)$/,
    habit: { takes: "whole" },
  },
  {
    // A chunk above 4 MiB gets 416 (wash-archive#268, rust-oci-client#37); whole blobs of any size work.
    name: "GitHub Container Registry",
    host: /(?:^|\.)ghcr\.io$/,
    habit: { takes: "whole", chunkBytesMax: 4 * MIB },
  },
  {
    // Range stays at the first chunk (containers-roadmap#2831); chunks are parts of S3, 5 MiB at least
    // (tart#273); an empty PUT at the end fails (tart#159). Layers of any size go whole, and a link that
    // breaks needs chunks.
    name: "Amazon ECR",
    host: /(?:\.dkr\.ecr(?:-fips)?\.[a-z0-9-]+\.amazonaws\.com(?:\.cn)?|^public\.ecr\.aws)$/,
    habit: {
      takes: "either",
      chunkBytesMin: 10 * MIB,
      chunkBytesMax: 20 * MIB,
      endsWithLastChunk: true,
      saysTooLittle: true,
    },
  },
  {
    // One PUT of more than about 20 MB gets 413 (harbor#23016); Microsoft's own client sends 4 MiB.
    name: "Azure Container Registry",
    host: /\.azurecr\.(?:io|cn|us)$/,
    habit: { takes: "chunks", chunkBytesMax: 16 * MIB, wholeBytesMax: 16 * MIB },
  },
  {
    name: "Quay",
    host: /(?:^|\.)quay\.io$/,
    habit: { takes: "either", saysTooLittle: true },
  },
  {
    // What it says was relative to the chunk in 2025 (regclient#961).
    name: "Zot",
    header: { name: "server", value: /^zot\b/i },
    habit: { takes: "either", saysTooLittle: true },
  },
  {
    name: "Artifactory",
    header: { name: "x-jfrog-version", value: /./ },
    habit: { takes: "whole" },
  },
  {
    name: "Artifactory",
    header: { name: "server", value: /^artifactory/i },
    habit: { takes: "whole" },
  },
];

const ANYONE: PushHabit = { takes: "either" };

/**
 * The habit of a registry, by its host or by an answer of it.
 *
 * @param host with or without port
 */
export function habitOf(
  host: string,
  headers: Headers | undefined,
  quirks: readonly Quirk[] = QUIRKS,
): PushHabit {
  const name = host.replace(/:[0-9]+$/, "").toLowerCase();
  const quirk = quirks.find(
    (known) =>
      known.host?.test(name) === true ||
      known.header?.value.test(headers?.get(known.header.name) ?? "") === true,
  );
  return quirk?.habit ?? ANYONE;
}
