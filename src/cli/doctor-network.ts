import { formatBytes, formatDuration, isFailure } from "#base";
import { CredentialWatch, isBroken, WARN_BEFORE_MS } from "#credential";
import { HarborClient } from "#harbor";
import { credentialUses, type PlannedImage } from "#plan";
import { canonicalDomain, tagOrDigest } from "#reference";
import {
  dnsAddresses,
  type ProxySettings,
  proxyFor,
  type Remote,
  readServerCertificate,
  readServerDate,
} from "#remote";
import { checkCredentials, chooseProxy, estimateCost, type Planned } from "#site";
import type { CliContext } from "./context.ts";
import { type Check, fine, LOOK_MS, odd, type Sign, wrong } from "./sign.ts";

type Found = Omit<Sign, "check">;

/** A clock that is wrong by more makes certificates and tokens fail. */
const SKEW_MS_MAX = 5 * 60_000;

/** Before there was this program, or so far on that it is a mistake. */
const YEARS = { first: 2025, last: 2100 } as const;

const SET_CLOCK =
  "Set the clock: `timedatectl set-ntp true`, or `date -s`, and look after its battery";

/** What the looks at the network need. */
export interface NetworkLooks {
  readonly context: CliContext;
  readonly remote: Remote;
  readonly proxy: ProxySettings;
  /** Hosts of registries, with port, the site's own too. */
  readonly registries: readonly string[];
}

/** Whether the clock can be right, and what the registries say of it. */
export function clockCheck({ context, proxy, registries }: NetworkLooks): Check {
  return {
    name: "clock",
    async look(signal) {
      const nowMs = context.clock.now();
      const text = new Date(nowMs).toISOString();
      const year = new Date(nowMs).getUTCFullYear();
      if (year < YEARS.first || year > YEARS.last) {
        return [wrong(`the clock says ${text}`, SET_CLOCK)];
      }
      const asked = registries.map(async (registry) => {
        const timeoutMs = LOOK_MS - 2_000;
        const dateMs = await readServerDate(registry, { proxy, timeoutMs, signal });
        return dateMs === undefined ? [] : [{ registry, skewMs: context.clock.now() - dateMs }];
      });
      const [told] = (await Promise.all(asked)).flat();
      if (told === undefined) return [fine(`${text}; no registry was there to compare with`)];
      const { registry, skewMs } = told;
      const off = `${formatDuration(Math.abs(skewMs))} ${skewMs < 0 ? "behind" : "ahead of"} ${registry}`;
      return Math.abs(skewMs) > SKEW_MS_MAX
        ? [wrong(`the clock is ${off}, at ${text}`, SET_CLOCK)]
        : [fine(`${text}, within five minutes of ${registry}`)];
    },
  };
}

/** Whether every registry's name has an address. */
export function dnsCheck({ proxy, registries }: NetworkLooks): Check {
  return {
    name: "dns",
    async look() {
      const hosts = registries.filter((registry) => isName(registry, proxy));
      const found = await Promise.all(
        hosts.map(async (host) => {
          const name = host.replace(/:\d+$/, "");
          if ((await dnsAddresses(name)).length > 0) return [];
          return [
            wrong(
              `${name} has no address`,
              `Check the spelling, /etc/resolv.conf and the link: getent hosts ${name}`,
            ),
          ];
        }),
      );
      const bad = found.flat();
      if (bad.length > 0) return bad;
      return [
        fine(hosts.length === 0 ? "no name to look up" : `${hosts.length} names have addresses`),
      ];
    },
  };
}

/** Whether it is a name, and ours to look up: a proxy resolves by itself. */
function isName(registry: string, proxy: ProxySettings): boolean {
  const url = `https://${registry}`;
  if (!URL.canParse(url)) return false;
  const { hostname } = new URL(url);
  if (/^[\d.]+$|^\[/.test(hostname) || hostname === "localhost") return false;
  try {
    return proxyFor(new URL(url), proxy) === undefined;
  } catch {
    return true;
  }
}

/** Whether what says the way to the outside is of one mind, and leaves the site's own registry alone. */
export function proxyCheck(planned: Planned | undefined, { env }: CliContext): Check {
  return {
    name: "proxy",
    async look() {
      const userData = planned?.inputs.userData.proxy ?? {};
      const proxy = chooseProxy(userData, env);
      const address = planned?.plan.registries.local?.address ?? undefined;
      const signs: Found[] = [...clashes(env)];
      const isSet = proxy.httpProxy !== undefined || proxy.httpsProxy !== undefined;
      if (!isSet) return signs.length > 0 ? signs : [fine("none is set")];
      // Whatever is not exempt tells whether the proxy's address is one: this throws when it is none.
      for (const scheme of ["https", "http"])
        proxyFor(new URL(`${scheme}://registry.invalid`), proxy);
      const through =
        address === undefined ? undefined : proxyFor(new URL(`https://${address}`), proxy);
      if (address !== undefined && through !== undefined) {
        signs.push(
          wrong(
            `the local registry ${address} would be asked through the proxy ${through.host}`,
            `Add ${address.replace(/:\d+$/, "")} to NO_PROXY, or to the user data's proxy settings`,
          ),
        );
      }
      return signs.length > 0 ? signs : [fine("one is set, and not in the way of the site")];
    },
  };
}

function clashes(env: CliContext["env"]): readonly Found[] {
  return ["http_proxy", "https_proxy", "no_proxy"].flatMap((name) => {
    const [lower, upper] = [env[name], env[name.toUpperCase()]];
    if (!lower || !upper || lower === upper) return [];
    return [
      odd(
        `${name} and ${name.toUpperCase()} differ, and programs disagree on which one counts`,
        "Set both to the same, or only one of them",
      ),
    ];
  });
}

/** Whether each registry shows a certificate that will be good for a while. */
export function certificatesCheck({ context, proxy, registries }: NetworkLooks): Check {
  return {
    name: "certificates",
    async look(signal) {
      const nowMs = context.clock.now();
      const looked = await Promise.all(
        registries.map(async (registry) => {
          const options = { proxy, timeoutMs: LOOK_MS - 2_000, signal };
          const end = await readServerCertificate(registry, options);
          return end === undefined ? [] : [{ registry, ...end }];
        }),
      );
      const shown = looked.flat();
      const bad = shown.flatMap(({ registry, subject, endsMs }): readonly Found[] => {
        const day = new Date(endsMs).toISOString().slice(0, 10);
        const remedy = `Have the certificate of ${registry} renewed`;
        if (endsMs <= nowMs) return [wrong(`${registry}: ${subject} ended on ${day}`, remedy)];
        if (endsMs - nowMs > WARN_BEFORE_MS) return [];
        return [odd(`${registry}: ${subject} ends on ${day}`, remedy)];
      });
      if (bad.length > 0) return bad;
      return [fine(`${shown.length} looked at, none of them ends within 14 days`)];
    },
  };
}

/** Whether each registry that wants no credential of ours answers, and is trusted. */
export function registriesCheck({ plan, inputs }: Planned, { remote }: NetworkLooks): Check {
  return {
    name: "registries",
    async look(signal) {
      const tried = new Set(credentialUses(plan, inputs).map(({ registry }) => registry));
      const images = new Map<string, PlannedImage>();
      for (const image of plan.stages.flatMap((stage) => stage.images)) {
        const { domain } = image.source;
        if (!tried.has(domain) && !images.has(domain)) images.set(domain, image);
      }
      const found = await Promise.all(
        [...images].map(async ([registry, { source, access }]) => {
          try {
            const repository = remote.repository(source, access);
            await repository.resolve(tagOrDigest(source), { signal, patience: "brief" });
          } catch (error) {
            if (!isFailure(error)) throw error;
            return [wrong(`${registry}: ${error.message}`, error.hint)];
          }
          return [fine(`${registry} answers`)];
        }),
      );
      return found.flat();
    },
  };
}

/** Every credential, tried once; what `dray credentials` says. */
export function credentialsCheck(planned: Planned, dataDir: string, context: CliContext): Check {
  return {
    name: "credentials",
    async look(signal) {
      const watch = new CredentialWatch();
      const events = await checkCredentials(planned, context, { signal, dataDir, watch });
      return events.flatMap(({ report }): readonly Found[] => {
        const { registry, origin, state, why, hint } = report;
        const text = `${registry}, ${origin ?? "no credential"}: ${why}`;
        if (state === "ok" || state === "untried") return [fine(text)];
        const verdict = isBroken(state) ? "wrong" : "warning";
        return [{ verdict, text, remedy: hint ?? "Run `dray credentials` for more" }];
      });
    },
  };
}

/** Whether what a delivery would bring fits. */
export function roomCheck(planned: Planned, dataDir: string, context: CliContext): Check {
  return {
    name: "room",
    async look(signal) {
      const quiet = { dataDir, signal, onNotice: () => undefined };
      const { disk, unsized } = await estimateCost(planned, quiet, context);
      const [first] = unsized;
      if (first !== undefined) {
        return [
          odd(
            `what a delivery needs is not known of ${unsized.length} images; ${first.message}`,
            first.hint,
          ),
        ];
      }
      if (disk === null) return [];
      const { bytesNeeded, bytesAvailable, suffices } = disk;
      const text = `a delivery needs ${formatBytes(bytesNeeded)}, and ${formatBytes(bytesAvailable)} are free`;
      if (suffices) return [fine(text)];
      return [wrong(text, "Make room, run `dray gc`, or name another folder with --data-dir")];
    },
  };
}

/** What a Harbor on the site says of itself. */
export function harborCheck({ plan }: Planned, { remote }: NetworkLooks): Check | undefined {
  const { local } = plan.registries;
  if (local?.kind !== "harbor" || local.address === null) return undefined;
  const { address, access } = local;
  return {
    name: "harbor",
    async look(signal) {
      const client = new HarborClient(remote.api(address, access), access);
      const [{ version, isReadOnly }, { unhealthy }] = await Promise.all([
        client.info(signal),
        client.health(signal),
      ]);
      const signs: Found[] = [];
      if (isReadOnly) {
        signs.push(
          wrong("Harbor is read-only", "End it in Harbor: Configuration, System Settings"),
        );
      }
      if (unhealthy.length > 0) {
        signs.push(
          odd(`Harbor says that ${unhealthy.join(", ")} is not well`, "Look at its pods' logs"),
        );
      }
      return [...signs, fine(`Harbor ${version?.text ?? "of a version that it does not tell"}`)];
    },
  };
}

/** Hosts that a plan's images come from and go to, each once, in order. */
export function registriesOf({ plan }: Planned): readonly string[] {
  const images = plan.stages.flatMap((stage) => stage.images);
  const sources = images.map(({ source }) => canonicalDomain(source.domain));
  const local = plan.registries.local?.kind === "embedded" ? null : plan.registries.local?.address;
  return [...new Set([...sources, ...(local == null ? [] : [local])])].sort();
}
