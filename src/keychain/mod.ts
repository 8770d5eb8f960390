/**
 * Credentials that programs keep: the `docker-credential-*` helpers, run by their protocol.
 *
 * It reads no configuration; which helper is asked for what is the business of `credential`.
 *
 * @module
 */
export { createCredentialHelpers, type HelperOptions } from "./credential-helpers.ts";
