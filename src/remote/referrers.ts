import { Failure, isFailure, quoted } from "#base";
import type { ResolveOptions } from "#content";
import {
  type Descriptor,
  type Digest,
  isIndexType,
  isJsonObject,
  isManifestType,
  MANIFEST_BYTES_MAX,
  OCI_INDEX,
  readDescriptor,
  referrersTag,
} from "#oci";
import { answerFailure } from "./answer.ts";
import { type BodyReading, readBounded } from "./body.ts";
import { nextPage } from "./next-page.ts";
import type { RegistryClient } from "./registry-client.ts";
import { pullScope } from "./scope.ts";
import { type Answer, discard } from "./transport.ts";

/** How far a list is followed: real ones have one page of a few entries (C-123). */
const PAGES_MAX = 32;
const REFERRERS_MAX = 1_000;

/** What a registry without the list answers to a request for it (C-121). */
const WITHOUT_LIST: ReadonlySet<number> = new Set([404, 405, 501]);

/** The repository whose referrers are asked for. */
export interface ReferrersPlace {
  readonly client: RegistryClient;
  /** Within its registry. */
  readonly path: string;
  /** For messages. */
  readonly name: string;
  readonly reading: BodyReading;
}

/**
 * Who refers to a digest: the registry's own list, page by page (C-120); where it keeps none, which is
 * remembered for the whole registry, the index under the fallback tag (C-121).
 *
 * What is listed is the other side's word: whether an entry is there and refers to the digest shows only
 * when it is read. Entries that can't be used are passed over. When a page after the first can't be read,
 * or there is no end, the operator is told and the list is what was read.
 *
 * @throws {Failure} `registry-protocol` for content under the fallback tag that is no index, or for a
 *   list that is too large; whatever keeps the registry from answering
 */
export async function listReferrers(
  place: ReferrersPlace,
  subject: Digest,
  options: ResolveOptions,
): Promise<readonly Descriptor[]> {
  const { client, path } = place;
  if (client.keepsReferrers === false) return readFallback(place, subject, options);
  const first = await ask(place, `/v2/${path}/referrers/${subject}`, subject, options);
  const page = await readPage(first, place);
  if (page !== undefined) {
    client.keepsReferrers = true;
    return followPages(page, place, subject, options);
  }
  // One that has answered with a list once is not taken for one that has none.
  client.keepsReferrers ??= false;
  return readFallback(place, subject, options);
}

async function followPages(
  first: Page,
  place: ReferrersPlace,
  subject: Digest,
  options: ResolveOptions,
): Promise<readonly Descriptor[]> {
  const { client, name } = place;
  const seen = new Set<string>();
  const entries = [...first.entries];
  const endEarly = (because: string) =>
    client.tell(`what refers to ${quoted(`${name}@${subject}`, 400)} is not all known: ${because}`);
  for (let { next } = first; next !== undefined; ) {
    const isEndless = seen.size + 1 >= PAGES_MAX || entries.length >= REFERRERS_MAX;
    if (isEndless || seen.has(next)) {
      endEarly("its list does not end");
      break;
    }
    seen.add(next);
    try {
      const page = await readPage(await ask(place, next, subject, options), place);
      if (page === undefined) {
        endEarly("a page of its list is none");
        break;
      }
      entries.push(...page.entries);
      next = page.next;
    } catch (error) {
      options.signal.throwIfAborted();
      if (!isFailure(error)) throw error;
      endEarly(error.message);
      break;
    }
  }
  return entries.slice(0, REFERRERS_MAX);
}

async function readFallback(
  place: ReferrersPlace,
  subject: Digest,
  options: ResolveOptions,
): Promise<readonly Descriptor[]> {
  const tag = referrersTag(subject);
  const answer = await ask(place, `/v2/${place.path}/manifests/${tag}`, subject, options);
  if (answer.status === 404) {
    await discard(answer);
    return [];
  }
  const page = await readPage(answer, place);
  if (page !== undefined) return page.entries.slice(0, REFERRERS_MAX);
  throw new Failure({
    code: "registry-protocol",
    message: `Cannot read what refers to ${answer.asked.subject}: under the tag ${tag} ${answer.asked.host} has something else, expected an OCI index`,
    hint: "Look at what was pushed under that tag: it is kept for lists of referrers (OCI distribution specification, Referrers Tag Schema)",
  });
}

function ask(
  { client, path, name }: ReferrersPlace,
  pathOfList: string,
  subject: Digest,
  { signal, patience = "full" }: ResolveOptions,
): Promise<Answer> {
  return client.request({
    method: "GET",
    path: pathOfList,
    headers: { Accept: OCI_INDEX },
    scope: pullScope(path),
    subject: quoted(`${name}@${subject}`, 400),
    signal,
    patience,
  });
}

interface Page {
  readonly entries: readonly Descriptor[];
  readonly next: string | undefined;
}

/** Undefined for an answer that is no list, whatever it is. */
async function readPage(
  answer: Answer,
  { client, reading }: ReferrersPlace,
): Promise<Page | undefined> {
  if (WITHOUT_LIST.has(answer.status)) {
    await discard(answer);
    return undefined;
  }
  if (answer.status !== 200) throw await answerFailure(answer, client.context());
  const bytes = await readBounded(answer, MANIFEST_BYTES_MAX, reading);
  if (bytes === undefined) throw tooLarge(answer);
  const entries = readIndex(bytes);
  return entries && { entries, next: nextPage(answer) };
}

/** Tolerant of single entries: one that somebody wrote wrong must not hide the signatures beside it. */
function readIndex(bytes: Uint8Array): readonly Descriptor[] | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  if (!isJsonObject(json)) return undefined;
  const { mediaType = OCI_INDEX, manifests } = json;
  if (typeof mediaType !== "string" || !isIndexType(mediaType)) return undefined;
  // Go writes an empty list so.
  if (manifests === null) return [];
  return Array.isArray(manifests) ? manifests.flatMap(readEntry) : undefined;
}

function readEntry(entry: unknown): readonly Descriptor[] {
  try {
    const descriptor = readDescriptor(entry, "manifests");
    const { mediaType } = descriptor;
    return isManifestType(mediaType) || isIndexType(mediaType) ? [descriptor] : [];
  } catch (error) {
    if (isFailure(error)) return [];
    throw error;
  }
}

function tooLarge({ asked }: Answer): Failure {
  return new Failure({
    code: "registry-protocol",
    message: `Cannot read what refers to ${asked.subject}: the list of ${asked.host} is larger, expected at most ${MANIFEST_BYTES_MAX} bytes`,
    hint: "Delete what nobody needs of what refers to the image at the registry",
  });
}
