import type { Clock } from "#base";
import type { Uploads } from "#content";
import { DEFAULT_PROJECT } from "#profile";
import {
  type Access,
  type CertificateFiles,
  createRegistry,
  type RegistryServer,
  readCertificate,
  type ServedRequest,
  serveRegistry,
  watchCertificate,
} from "#registry";
import type { DiskStore } from "#store";

/** How a store is served as a registry. */
export interface EmbeddedOptions {
  /** Open in the role of a registry, or for reading. */
  readonly store: DiskStore;
  readonly hostname: string;
  /** 0 for one that is free. */
  readonly port: number;
  readonly tls?: CertificateFiles;
  readonly access: Access;
  readonly isWritable: boolean;
  readonly isDeletable: boolean;
  readonly isListed: boolean;
  /** How long an upload may idle before it is removed, in milliseconds. */
  readonly uploadAgeMs: number;
  /** How long requests that are under way may go on after the signal, in milliseconds. */
  readonly stopMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Told the URL, once it is served. */
  readonly onListening: (url: string) => void;
  readonly onRequest?: (request: ServedRequest) => void;
  /** Something that a person may want to know, as a sentence. */
  readonly onNews: (text: string) => void;
  readonly onTrouble: (error: unknown) => void;
}

/** How often idle uploads are looked after, in milliseconds. */
const LOOK_FOR_IDLE_MS = 600_000;

/**
 * Serves a store as a registry until the signal. What is cut in the end after all stays resumable: an
 * upload goes on from what of it is durable.
 *
 * @throws {Failure} what `serveRegistry` and `readCertificate` throw
 */
export async function serveEmbedded(options: EmbeddedOptions): Promise<void> {
  const { store, hostname, port, tls: files, access, clock, signal, onRequest } = options;
  const { isWritable, isDeletable, isListed } = options;
  const tls = files === undefined ? undefined : readCertificate(files);
  const registry = createRegistry({
    ...{ store, access, project: DEFAULT_PROJECT, isWritable, isDeletable, isListed },
    ...(onRequest === undefined ? {} : { onRequest }),
  });
  await using server = serveRegistry({
    ...{ registry, hostname, port, clock },
    ...(tls === undefined ? {} : { tls }),
  });
  options.onListening(`${tls === undefined ? "http" : "https"}://${server.address}`);
  const upkeep = [
    ...(files === undefined ? [] : [keepCertificate(files, server, options)]),
    ...(isWritable ? [removeIdleUploads(store.uploads, options)] : []),
  ];
  await aborted(signal);
  await stopGently(server, options);
  // The caller closes the store now.
  await Promise.all(upkeep);
}

async function stopGently(
  server: RegistryServer,
  { clock, stopMs }: EmbeddedOptions,
): Promise<void> {
  const over = new AbortController();
  const grace = clock.sleep(stopMs, over.signal).catch(() => {});
  await Promise.race([server.stop(), grace]);
  over.abort();
}

async function keepCertificate(
  files: CertificateFiles,
  server: RegistryServer,
  { clock, signal, onNews, onTrouble }: EmbeddedOptions,
): Promise<void> {
  const watching = watchCertificate(files, {
    ...{ clock, signal },
    onChange: (certificate) => {
      server.replaceCertificate(certificate);
      onNews("Showing the new certificate from now on");
    },
    onProblem: (failure) => {
      onTrouble(failure);
      onNews("The certificate before is still shown");
    },
  });
  await watching.catch(onTrouble);
}

async function removeIdleUploads(
  uploads: Uploads,
  { clock, signal, uploadAgeMs, onNews, onTrouble }: EmbeddedOptions,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const removed = await uploads.removeIdle(uploadAgeMs);
      if (removed > 0) onNews(`Removed ${removed} uploads that nobody went on with`);
    } catch (error) {
      onTrouble(error);
    }
    await clock.sleep(LOOK_FOR_IDLE_MS, signal).catch(() => {});
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    signal.addEventListener("abort", () => done(), { once: true });
  });
}
