/**
 * Harbor's own API: what must be done at a Harbor before images can be pushed to it, and what would
 * go wrong later is found and told now.
 *
 * It speaks to Harbor through a port, and knows neither sockets nor images: an image is a repository
 * and a tag here. The given credential, usually that of an admin, is used only to set things up; what
 * pushes and what pulls is a robot account of its own, whose secret is kept and renewed.
 *
 * @example
 * ```ts
 * const clientFor = (access: Access) => new HarborClient(remote.api(address, access), access);
 * const prepared = await prepareHarbor({ clientFor, access, secrets, clock, random }, wishes, { signal });
 * const target = remote.target(name, prepared.push.access);
 * ```
 *
 * @module
 */
export {
  HarborClient,
  type HarborHealth,
  type HarborInfo,
  type HarborProject,
  type HarborQuota,
  type HarborRobot,
  type RobotPermission,
} from "./client.ts";
export type {
  ImmutableRule,
  PolicyImage,
  RetentionPolicy,
  RetentionRule,
  Selector,
} from "./policy.ts";
export type { HarborApi, HarborApiAnswer, HarborApiRequest, RobotSecrets } from "./ports.ts";
export type { HarborPorts, HarborWarning, HarborWishes } from "./preparation.ts";
export { type PreparedHarbor, prepareHarbor } from "./prepare.ts";
export {
  createRobotSecretsFile,
  type RobotLogin,
  type RobotPurpose,
  type RobotSecret,
} from "./robot-secrets.ts";
export type { HarborAccount } from "./robots.ts";
