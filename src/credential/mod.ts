/**
 * Credentials for registries: what they are, and how Docker's configuration file names them.
 *
 * Pure: files are read and helpers are run elsewhere (`keychain`).
 *
 * @module
 */
export { type Access, ANONYMOUS, type Credential, type CredentialHelpers } from "./credential.ts";
export {
  type DockerConfig,
  dockerConfigFiles,
  lookupDockerConfig,
  parseDockerConfig,
} from "./docker-config.ts";
