import { type Clock, Failure, quoted } from "#base";
import {
  contentMissing,
  type HeldManifest,
  type Page,
  type PutOptions,
  type Repositories,
} from "#content";
import { type Descriptor, type Digest, parseDigest } from "#oci";
import type { StoreDatabase } from "./database.ts";
import { descriptorOf } from "./names.ts";
import { REPOSITORIES_SINCE } from "./schema.ts";

/** What the repositories need from their store. */
export interface RepositoriesPlace {
  readonly database: StoreDatabase;
  readonly clock: Clock;
  /** Looks at the disk (S-65). */
  has(descriptor: Descriptor): Promise<boolean>;
  /** As `has`, and what is there stays for a while. */
  lease(descriptor: Descriptor): Promise<boolean>;
  /** @throws {Failure} `store-read-only` */
  requireWriter(): void;
  /** What to throw for what SQLite threw. */
  failure(error: unknown, repository: string): unknown;
}

interface ContentRow {
  readonly media_type: string;
  readonly digest: string;
  readonly size: number;
}

interface ManifestRow extends ContentRow {
  readonly artifact_type: string | null;
  readonly annotations: string | null;
  readonly subject: string | null;
}

/** The repositories of a store, in its database. Each question is answered by an index. */
export class DiskRepositories implements Repositories {
  readonly #place: RepositoriesPlace;
  readonly #database: StoreDatabase;

  constructor(place: RepositoriesPlace) {
    this.#place = place;
    this.#database = place.database;
  }

  async linkBlob(repository: string, blob: Descriptor): Promise<void> {
    const { mediaType, digest, size } = blob;
    await this.#requireContent(blob);
    await this.#change(repository, () =>
      this.#database.run(
        `INSERT INTO repository_blobs (repository, digest, media_type, size, linked_ms)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET media_type = ?3, size = ?4, linked_ms = ?5`,
        ...[repository, digest, mediaType, size, this.#place.clock.now()],
      ),
    );
  }

  async blob(repository: string, digest: Digest): Promise<Descriptor | undefined> {
    const row = await this.#row<ContentRow>(
      repository,
      "SELECT * FROM repository_blobs WHERE repository = ?1 AND digest = ?2",
      digest,
    );
    const descriptor = row && descriptorOf(row);
    return descriptor !== undefined && (await this.#place.has(descriptor)) ? descriptor : undefined;
  }

  unlinkBlob(repository: string, digest: Digest): Promise<boolean> {
    return this.#delete(
      repository,
      "DELETE FROM repository_blobs WHERE repository = ?1 AND digest = ?2",
      digest,
    );
  }

  async putManifest(
    repository: string,
    manifest: HeldManifest,
    { tags, expected }: PutOptions,
  ): Promise<void> {
    await this.#requireContent(manifest.descriptor);
    await this.#change(repository, () => {
      for (const tag of tags) this.#requireTag(repository, tag, expected);
      this.#insertManifest(repository, manifest);
      for (const tag of tags) {
        this.#database.run(
          `INSERT INTO repository_tags (repository, tag, digest) VALUES (?1, ?2, ?3)
           ON CONFLICT DO UPDATE SET digest = ?3`,
          ...[repository, tag, manifest.descriptor.digest],
        );
      }
    });
  }

  async manifest(repository: string, digest: Digest): Promise<HeldManifest | undefined> {
    const row = await this.#row<ManifestRow>(
      repository,
      "SELECT * FROM repository_manifests WHERE repository = ?1 AND digest = ?2",
      digest,
    );
    const manifest = row && manifestOf(row);
    const isHere = manifest !== undefined && (await this.#place.has(manifest.descriptor));
    return isHere ? manifest : undefined;
  }

  deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    return this.#change(repository, () => {
      const deleteFrom = (table: string) =>
        this.#database.run(
          `DELETE FROM ${table} WHERE repository = ?1 AND digest = ?2`,
          ...[repository, digest],
        );
      deleteFrom("repository_tags");
      return deleteFrom("repository_manifests") > 0;
    });
  }

  async tag(repository: string, tag: string): Promise<Descriptor | undefined> {
    const row = await this.#row<ContentRow>(
      repository,
      `SELECT media_type, digest, size
       FROM repository_tags JOIN repository_manifests USING (repository, digest)
       WHERE repository = ?1 AND tag = ?2`,
      tag,
    );
    return row && descriptorOf(row);
  }

  deleteTag(repository: string, tag: string): Promise<boolean> {
    return this.#delete(
      repository,
      "DELETE FROM repository_tags WHERE repository = ?1 AND tag = ?2",
      tag,
    );
  }

  async tags(
    repository: string,
    { after = "", limit }: Page,
  ): Promise<readonly string[] | undefined> {
    const rows = await this.#rows<{ readonly tag: string }>(
      repository,
      "SELECT tag FROM repository_tags WHERE repository = ?1 AND tag > ?2 ORDER BY tag LIMIT ?3",
      ...[after, limit],
    );
    if (rows.length === 0 && !(await this.has(repository))) return undefined;
    return rows.map(({ tag }) => tag);
  }

  async referrers(repository: string, subject: Digest): Promise<readonly HeldManifest[]> {
    const rows = await this.#rows<ManifestRow>(
      repository,
      // Left to itself SQLite goes through all manifests of the repository, which are in order already.
      `SELECT * FROM repository_manifests INDEXED BY repository_referrers
       WHERE repository = ?1 AND subject = ?2 ORDER BY digest`,
      subject,
    );
    return rows.map(manifestOf);
  }

  async list({ after = "", limit }: Page): Promise<readonly string[]> {
    const names: string[] = [];
    for (let name: string | null = after; names.length < limit; names.push(name)) {
      name = await this.#nameAfter(name);
      if (name === null) break;
    }
    return names;
  }

  async has(repository: string): Promise<boolean> {
    const row = await this.#row<{ readonly is_there: number }>(
      repository,
      `SELECT EXISTS (SELECT 1 FROM repository_manifests WHERE repository = ?1)
           OR EXISTS (SELECT 1 FROM repository_blobs WHERE repository = ?1) AS is_there`,
    );
    return row?.is_there === 1;
  }

  /** Two look-ups in an index each, however much a repository has. */
  async #nameAfter(name: string): Promise<string | null> {
    const row = await this.#row<{ readonly name: string | null }>(
      name,
      `SELECT min(name) AS name FROM (
         SELECT min(repository) AS name FROM repository_manifests WHERE repository > ?1
         UNION ALL SELECT min(repository) FROM repository_blobs WHERE repository > ?1)`,
    );
    return row?.name ?? null;
  }

  /** A collection may have taken it since it was looked for. */
  async #requireContent(descriptor: Descriptor): Promise<void> {
    this.#place.requireWriter();
    if (!(await this.#place.lease(descriptor))) throw contentMissing(descriptor);
  }

  #requireTag(repository: string, tag: string, expected: Digest | null | undefined): void {
    if (expected === undefined) return;
    const row = this.#database.row<{ readonly digest: string }>(
      "SELECT digest FROM repository_tags WHERE repository = ?1 AND tag = ?2",
      ...[repository, tag],
    );
    const found = row?.digest ?? null;
    if (found === expected) return;
    throw new Failure({
      code: "tag-moved",
      message: `Cannot move tag ${quoted(`${repository}:${tag}`)}: it stands for ${found ?? "nothing"}, expected ${expected ?? "nothing"}`,
      hint: "Look at what the tag stands for now, then try again with that",
    });
  }

  #insertManifest(repository: string, manifest: HeldManifest): void {
    const { descriptor, artifactType, annotations, subject } = manifest;
    this.#database.run(
      `INSERT OR REPLACE INTO repository_manifests
         (repository, digest, media_type, size, artifact_type, annotations, subject, put_ms)
       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)`,
      ...[repository, descriptor.digest, descriptor.mediaType, descriptor.size],
      artifactType ?? null,
      annotations === undefined ? null : JSON.stringify(annotations),
      ...[subject ?? null, this.#place.clock.now()],
    );
  }

  async #delete(repository: string, sql: string, key: string): Promise<boolean> {
    return (await this.#change(repository, () => this.#database.run(sql, repository, key))) > 0;
  }

  async #change<T>(repository: string, apply: () => T): Promise<T> {
    this.#place.requireWriter();
    try {
      return await this.#database.change(apply);
    } catch (error) {
      throw this.#place.failure(error, repository);
    }
  }

  async #row<Row>(
    repository: string,
    sql: string,
    ...values: (string | number)[]
  ): Promise<Row | undefined> {
    return (await this.#rows<Row>(repository, sql, ...values))[0];
  }

  async #rows<Row>(
    repository: string,
    sql: string,
    ...values: (string | number)[]
  ): Promise<Row[]> {
    try {
      if (!this.#database.hasVersion(REPOSITORIES_SINCE)) return [];
      return this.#database.rows<Row>(sql, repository, ...values);
    } catch (error) {
      throw this.#place.failure(error, repository);
    }
  }
}

function manifestOf(row: ManifestRow): HeldManifest {
  const { artifact_type: artifactType, annotations, subject } = row;
  return {
    descriptor: descriptorOf(row),
    ...(artifactType === null ? {} : { artifactType }),
    ...(annotations === null ? {} : { annotations: JSON.parse(annotations) }),
    ...(subject === null ? {} : { subject: parseDigest(subject) }),
  };
}
