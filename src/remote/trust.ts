import { X509Certificate } from "node:crypto";
import { getCACertificates } from "node:tls";
import { Failure } from "#base";
import type { Access } from "#credential";

/** Whom a TLS connection trusts, in the form that `fetch` takes. */
export interface Trust {
  readonly ca?: string[];
  readonly rejectUnauthorized?: boolean;
}

let systemAuthorities: readonly string[] | undefined;

/**
 * Certificate authorities of the runtime and of the system. Both are named, because Bun 1.4.5 by
 * itself asks the system's only with `--use-system-ca`, and an authority that an edge host trusts is
 * mostly the company's own. Reading them takes 10 to 100 ms, so it is done once and when needed.
 */
function authorities(): readonly string[] {
  systemAuthorities ??= [
    ...new Set([...getCACertificates("default"), ...getCACertificates("system")]),
  ];
  return systemAuthorities;
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g;

/**
 * Whom to trust at a registry: everybody when it is insecure; else the system's authorities and,
 * beside them, the certificates that were given for it (C-163).
 *
 * @param registry its host, for the message
 * @throws {Failure} `registry-certificate` when a given certificate cannot be read
 */
export function trustFor(registry: string, { insecure, certificates }: Access): Trust {
  if (insecure) return { rejectUnauthorized: false };
  return { ca: [...authorities(), ...certificates.flatMap((pem) => readPem(registry, pem))] };
}

function readPem(registry: string, pem: string): readonly string[] {
  const blocks = pem.match(CERTIFICATE) ?? [];
  try {
    for (const block of blocks) new X509Certificate(block);
    if (blocks.length > 0) return blocks;
  } catch {
    // The same failure as for a text without any certificate: which part is broken is not known.
  }
  throw new Failure({
    code: "registry-certificate",
    message: `Cannot trust the certificates given for ${registry}: they cannot be read, expected PEM`,
    hint: "Give the authority's certificate as PEM text, from -----BEGIN CERTIFICATE----- on",
  });
}
