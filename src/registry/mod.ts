/**
 * The embedded registry: serves a store by the OCI distribution specification 1.1, for pulling what
 * was delivered and for pushing and pulling anything else.
 *
 * It knows a store only by its ports, and no socket but in `serve.ts`.
 *
 * @module
 */
export {
  type Access,
  type AccessOptions,
  type Action,
  type Caller,
  createAccess,
  openAccess,
} from "./access.ts";
export type { UploadLimits } from "./bound-uploads.ts";
export type { ServedStore } from "./catalog.ts";
export { clientOf, isLoopback } from "./client.ts";
export { type FileUsers, openHtpasswd, type Users } from "./htpasswd.ts";
export { limitRequests, type RequestLimits } from "./limits.ts";
export {
  createRegistry,
  type Registry,
  type RegistryOptions,
  type ServedRequest,
} from "./registry.ts";
export {
  type RegistryServer,
  refuseExposure,
  type ServeOptions,
  serveRegistry,
} from "./serve.ts";
export {
  type Certificate,
  type CertificateFiles,
  readCertificate,
  watchCertificate,
} from "./tls.ts";
