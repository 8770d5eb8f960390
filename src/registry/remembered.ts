import type { HeldManifest, Page, PutOptions, Repositories } from "#content";
import type { Descriptor, Digest } from "#oci";
import type { ServedStore } from "./catalog.ts";

/** How many answers are remembered, a tag of a list counting as one: some megabytes at most. */
const ANSWERS_MAX = 10_000;

/** What was answered about one repository. */
interface Memory {
  readonly answers: Map<string, unknown>;
  weight: number;
}

/**
 * The repositories of a store, which remember what they answered: a question to the database costs
 * more than all the rest of a request for a manifest (30 µs of 50, measured).
 *
 * What is written through them is forgotten by repository, all of it when the store says that somebody
 * else may have written: another process collects, or brings the database up to date. Whether content
 * is there is never remembered: the disk is looked at each time (S-65).
 */
export class RememberedRepositories implements Repositories {
  readonly #store: Pick<ServedStore, "repositories" | "revision" | "has">;
  readonly #memories = new Map<string, Memory>();
  #weight = 0;
  #revision: string | undefined;

  constructor(store: Pick<ServedStore, "repositories" | "revision" | "has">) {
    this.#store = store;
  }

  tag(repository: string, tag: string): Promise<Descriptor | undefined> {
    return this.#remember(repository, `tag ${tag}`, () => this.#repositories.tag(repository, tag));
  }

  /** The first page: of the others, the client says where they begin, at any length. */
  tags(repository: string, page: Page): Promise<readonly string[] | undefined> {
    const ask = () => this.#repositories.tags(repository, page);
    const isFirst = (page.after ?? "") === "";
    return isFirst ? this.#remember(repository, `tags ${page.limit}`, ask) : ask();
  }

  has(repository: string): Promise<boolean> {
    return this.#remember(repository, "has", () => this.#repositories.has(repository));
  }

  async blob(repository: string, digest: Digest): Promise<Descriptor | undefined> {
    const memory = this.#memoryOf(repository);
    const known = memory.answers.get(`blob ${digest}`) as Descriptor | undefined;
    if (known !== undefined) return (await this.#store.has(known)) ? known : undefined;
    const blob = await this.#repositories.blob(repository, digest);
    // That there is none may be because of the disk, so only what there is is remembered.
    if (blob !== undefined) this.#put(repository, memory, `blob ${digest}`, blob);
    return blob;
  }

  async manifest(repository: string, digest: Digest): Promise<HeldManifest | undefined> {
    const memory = this.#memoryOf(repository);
    const known = memory.answers.get(`manifest ${digest}`) as HeldManifest | undefined;
    if (known !== undefined) return (await this.#store.has(known.descriptor)) ? known : undefined;
    const manifest = await this.#repositories.manifest(repository, digest);
    if (manifest !== undefined) this.#put(repository, memory, `manifest ${digest}`, manifest);
    return manifest;
  }

  /** Not remembered: it is asked for rarely, and may be long. */
  referrers(repository: string, subject: Digest): Promise<readonly HeldManifest[]> {
    return this.#repositories.referrers(repository, subject);
  }

  /** Not remembered, as {@link referrers}. */
  list(page: Page): Promise<readonly string[]> {
    return this.#repositories.list(page);
  }

  linkBlob(repository: string, blob: Descriptor): Promise<void> {
    return this.#write(repository, () => this.#repositories.linkBlob(repository, blob));
  }

  unlinkBlob(repository: string, digest: Digest): Promise<boolean> {
    return this.#write(repository, () => this.#repositories.unlinkBlob(repository, digest));
  }

  putManifest(repository: string, manifest: HeldManifest, options: PutOptions): Promise<void> {
    return this.#write(repository, () =>
      this.#repositories.putManifest(repository, manifest, options),
    );
  }

  deleteManifest(repository: string, digest: Digest): Promise<boolean> {
    return this.#write(repository, () => this.#repositories.deleteManifest(repository, digest));
  }

  deleteTag(repository: string, tag: string): Promise<boolean> {
    return this.#write(repository, () => this.#repositories.deleteTag(repository, tag));
  }

  get #repositories(): Repositories {
    return this.#store.repositories;
  }

  async #remember<T>(repository: string, question: string, ask: () => Promise<T>): Promise<T> {
    const memory = this.#memoryOf(repository);
    if (memory.answers.has(question)) return memory.answers.get(question) as T;
    const answer = await ask();
    this.#put(repository, memory, question, answer);
    return answer;
  }

  /** What is remembered of a repository as of now. */
  #memoryOf(repository: string): Memory {
    const revision = this.#store.revision();
    if (revision !== this.#revision) {
      this.#forgetAll();
      this.#revision = revision;
    }
    const known = this.#memories.get(repository);
    if (known !== undefined) return known;
    // Now and not with the first answer, so that a write that comes before it takes it away.
    const memory = { answers: new Map(), weight: 0 };
    this.#memories.set(repository, memory);
    this.#weigh(memory, 1);
    return memory;
  }

  /** @param memory of before the question: if it was forgotten since, so is the answer */
  #put(repository: string, memory: Memory, question: string, answer: unknown): void {
    if (this.#memories.get(repository) !== memory) return;
    memory.answers.set(question, answer);
    this.#weigh(memory, Array.isArray(answer) ? answer.length + 1 : 1);
  }

  #weigh(memory: Memory, weight: number): void {
    memory.weight += weight;
    this.#weight += weight;
    if (this.#weight > ANSWERS_MAX) this.#forgetAll();
  }

  async #write<T>(repository: string, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } finally {
      // Also when it failed: what it came to is for the database to say.
      this.#weight -= this.#memories.get(repository)?.weight ?? 0;
      this.#memories.delete(repository);
    }
  }

  #forgetAll(): void {
    this.#memories.clear();
    this.#weight = 0;
  }
}
