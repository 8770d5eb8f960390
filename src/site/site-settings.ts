import { type AgentSettings, DEFAULT_AGENT_SETTINGS, type Ways } from "#daemon";
import type { LinkSettings } from "#link";
import type { Platform } from "#oci";
import type { Site, SiteAgent } from "#profile";
import { clusterPlatform } from "./cluster-platform.ts";
import type { SiteContext } from "./context.ts";
import { runtimeSocketOf } from "./runtime-images.ts";

/** What an agent itself must know of its site file; all else is for those who work for it. */
export interface SiteSettings {
  readonly ways: Ways;
  readonly link: LinkSettings;
  /** Of the cluster. */
  readonly platform: Platform;
  /** Where the runtime takes requests; undefined where there is none. */
  readonly runtimeSocket?: string | undefined;
  /** How often a registry that steers is asked, in milliseconds; undefined: as often as is usual. */
  readonly pollMs?: number | undefined;
}

/** @param restart keys that say something else than when the agent started, and don't count yet */
export function siteSettings(
  site: Site,
  context: Pick<SiteContext, "platform">,
  restart: readonly string[],
): SiteSettings {
  const { agent, link, fetcher } = site;
  return {
    ways: { settings: settingsOf(agent), link: JSON.stringify([link, fetcher]), restart },
    link,
    platform: clusterPlatform(site, context),
    runtimeSocket: runtimeSocketOf(site),
    pollMs: agent.pollMs,
  };
}

function settingsOf(agent: SiteAgent): AgentSettings {
  const standard = DEFAULT_AGENT_SETTINGS;
  return {
    ...standard,
    activation: agent.activation,
    resyncMs: agent.resyncMs ?? standard.resyncMs,
    credentialsMs: agent.credentialsMs ?? standard.credentialsMs,
    proveMs: agent.proveMs ?? standard.proveMs,
    verifyMs: agent.verifyMs ?? standard.verifyMs,
    collectMs: agent.collectMs ?? standard.collectMs,
  };
}
