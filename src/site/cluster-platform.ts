import { formatPlatform, type Platform, parsePlatform } from "#oci";
import type { Site } from "#profile";
import type { SiteContext } from "./context.ts";

/**
 * The machines that a site's images are for: as somebody names them, else as the site file does, else this
 * one's.
 *
 * @throws {Failure} `platform-invalid` for a name that is none
 */
export function clusterPlatform(
  { platform }: Pick<Site, "platform">,
  context: Pick<SiteContext, "platform">,
  named?: string | undefined,
): Platform {
  if (named !== undefined) return parsePlatform(named);
  return platform ?? parsePlatform(context.platform);
}

/** Whether the runtime of this machine has any use for images that are for such machines. */
export function isThisMachine(platform: Platform, context: Pick<SiteContext, "platform">): boolean {
  return formatPlatform(platform) === formatPlatform(parsePlatform(context.platform));
}
