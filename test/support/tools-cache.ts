import { homedir } from "node:os";
import { join } from "node:path";

/** Where `tools/install-programs.sh` keeps what it builds, and a release the runtimes that it fetched. */
export const TOOLS_CACHE: string = join(
  process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"),
  "drayage-tools",
);
