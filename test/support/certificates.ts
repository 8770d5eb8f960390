import { readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dir, "..", "fixtures", "tls");

/** A certificate with its key: the PEM texts, and the files they are in for programs that want those. */
export interface TestCertificate {
  readonly certificate: string;
  readonly key: string;
  readonly certificatePath: string;
  readonly keyPath: string;
}

/** The certificates of `test/fixtures/tls`; what each of them is says `tools/make-test-certificates.sh`. */
export interface TestCertificates {
  /** The authority that a test trusts. */
  readonly ca: string;
  readonly caPath: string;
  /** For localhost, 127.0.0.1, ::1 and registry.test; good until 2100. */
  readonly server: TestCertificate;
  /** The same names and authority, over since 2001. */
  readonly expired: TestCertificate;
  /** The same names, from an authority that nobody trusts. */
  readonly stranger: TestCertificate;
  /** For a client that must show one. */
  readonly client: TestCertificate;
}

/** Reads the test certificates. */
export function testCertificates(): TestCertificates {
  const caPath = join(FOLDER, "ca.pem");
  return {
    ca: readFileSync(caPath, "utf8"),
    caPath,
    server: readCertificate("server"),
    expired: readCertificate("expired"),
    stranger: readCertificate("stranger"),
    client: readCertificate("client"),
  };
}

function readCertificate(name: string): TestCertificate {
  const certificatePath = join(FOLDER, `${name}.pem`);
  const keyPath = join(FOLDER, `${name}.key`);
  return {
    certificate: readFileSync(certificatePath, "utf8"),
    key: readFileSync(keyPath, "utf8"),
    certificatePath,
    keyPath,
  };
}
