import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { type Clock, Failure, isFailure, quoted, systemErrorCode } from "#base";
import { fileVersion } from "./file-version.ts";

/** A certificate, with the chain that leads to its authority, and its key; both in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** The files of a {@link Certificate}. */
export interface CertificateFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** How often the files are looked at, in milliseconds. A certificate is replaced days before its end. */
const LOOK_INTERVAL_MS = 10_000;

/**
 * Reads a certificate and its key.
 *
 * @throws {Failure} `registry-certificate` when they can't be read, or are not of one pair
 */
export function readCertificate(files: CertificateFiles): Certificate {
  const certificate = { cert: readPem(files.certFile), key: readPem(files.keyFile) };
  if (!isPair(certificate)) throw badCertificate();
  return certificate;
}

/** Who is told what becomes of the files of a certificate. */
export interface CertificateWatch {
  readonly clock: Clock;
  /** Ends the watch. */
  readonly signal: AbortSignal;
  /** @throws {Failure} `registry-certificate` when it is of no use after all */
  readonly onChange: (certificate: Certificate) => void;
  /** Told once for each state of the files that is of no use. */
  readonly onProblem: (failure: Failure) => void;
}

/**
 * Reads a certificate again whenever its files have changed (S-56). Files that are of no use change
 * nothing: they may be half written, so they are looked at once more before anybody hears of them.
 *
 * Kubernetes replaces files behind symbolic links, of which file events tell nothing: the files are
 * looked at from time to time instead.
 */
export async function watchCertificate(
  files: CertificateFiles,
  { clock, signal, onChange, onProblem }: CertificateWatch,
): Promise<void> {
  let settled = versionOf(files);
  let doubtful: string | undefined;
  while (await slept(clock, signal)) {
    const version = versionOf(files);
    if (version === settled) continue;
    const failure = tryChange(files, onChange);
    if (failure === undefined || version === doubtful) settled = version;
    if (failure !== undefined && version === doubtful) onProblem(failure);
    doubtful = version;
  }
}

function tryChange(
  files: CertificateFiles,
  onChange: CertificateWatch["onChange"],
): Failure | undefined {
  try {
    onChange(readCertificate(files));
    return undefined;
  } catch (error) {
    if (isFailure(error)) return error;
    throw error;
  }
}

async function slept(clock: Clock, signal: AbortSignal): Promise<boolean> {
  await clock.sleep(LOOK_INTERVAL_MS, signal).catch(() => {});
  return !signal.aborted;
}

function versionOf({ certFile, keyFile }: CertificateFiles): string {
  return [certFile, keyFile]
    .map((file) => statSync(file, { throwIfNoEntry: false }))
    .map((stats) => (stats === undefined ? "absent" : fileVersion(stats)))
    .join("/");
}

function isPair({ cert, key }: Certificate): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

function readPem(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new Failure({
      code: "registry-certificate",
      message: `Cannot read ${quoted(file)}: the system answered ${systemErrorCode(cause) ?? "an unknown error"}, expected a PEM file`,
      hint: "Check the name, and that this user may read the file",
      cause,
    });
  }
}

/** A certificate or key that no connection can be made with. */
export function badCertificate(cause?: unknown): Failure {
  return new Failure({
    code: "registry-certificate",
    message:
      "Cannot serve TLS: certificate or key is not usable, expected both in PEM and of one pair",
    hint: "Look at them with `openssl x509 -in CERT -noout -text` and `openssl pkey -in KEY -noout -check`",
    cause,
  });
}
