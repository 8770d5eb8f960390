/**
 * The embedded registry: serves every image of a store by the OCI distribution specification.
 *
 * It is for reading: what the cluster pulls is what was delivered. It knows a store only by its port,
 * and no socket but in `serve.ts`.
 *
 * @module
 */
export type { ServedStore } from "./catalog.ts";
export { openHtpasswd, type Users } from "./htpasswd.ts";
export {
  createRegistry,
  type Registry,
  type RegistryOptions,
  type ServedRequest,
} from "./registry.ts";
export { type RegistryServer, type ServeOptions, serveRegistry } from "./serve.ts";
