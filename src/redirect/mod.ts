/**
 * The mirrors that a runtime is told of, and the text of the files that tell it.
 *
 * Pure: texts in, texts out. What a person wrote in those files stays, byte for byte; ours stands
 * between marks and can be taken out again.
 *
 * @module
 */
export { adviseContainerd, type ContainerdAdvice } from "./containerd-config.ts";
export { unifiedDiff } from "./diff.ts";
export {
  type Authority,
  type Endpoint,
  type EndpointRole,
  endpointUrl,
  isLoopback,
  type Mirror,
  type NodeAccess,
  type NodeCredential,
  OPEN_ACCESS,
  type RuntimeKind,
} from "./endpoint.ts";
export {
  type Followed,
  type FollowedEndpoint,
  followHostsToml,
  followRegistriesYaml,
  hostFolders,
} from "./follow.ts";
export { type HostFolder, mergeHostsToml, type Replaced } from "./hosts-toml.ts";
export { isMarked, removeMarked } from "./marked.ts";
export { maskHostsToml, maskRegistriesYaml } from "./mask.ts";
export { type MirrorOptions, mirrorsFor } from "./mirrors.ts";
export { mergeRegistriesYaml } from "./registries-yaml.ts";
