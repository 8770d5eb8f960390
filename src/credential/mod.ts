/**
 * Credentials for registries: what they are, how Docker's configuration file names them, and how one
 * that no longer works, or soon won't, is found out.
 *
 * Pure: files are read and helpers are run elsewhere (`keychain`), and registries are asked by who
 * gives the trials.
 *
 * @module
 */
export {
  type Access,
  ANONYMOUS,
  type Credential,
  type CredentialHelpers,
  HELPER_NAME,
} from "./credential.ts";
export {
  type DockerConfig,
  dockerConfigFiles,
  lookupDockerConfig,
  parseDockerConfig,
} from "./docker-config.ts";
export { tokenEndsMs } from "./token-expiry.ts";
export { type CredentialTrial, tryCredentials } from "./try-credentials.ts";
export {
  type CredentialEvent,
  type CredentialObservation,
  type CredentialReport,
  type CredentialState,
  type CredentialSubject,
  CredentialWatch,
  type Expiry,
  isBroken,
  type RegistryRole,
  type TrialOutcome,
  WARN_BEFORE_MS,
} from "./watch.ts";
