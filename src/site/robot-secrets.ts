import { join } from "node:path";
import { createRobotSecretsFile } from "#harbor";

/** Where the secrets of a site's robot accounts at a Harbor are kept: a file in its data folder. */
export function robotSecretsIn(dataDir: string): ReturnType<typeof createRobotSecretsFile> {
  return createRobotSecretsFile(join(dataDir, "harbor-robots.json"));
}
