import { Failure, quoted } from "#base";

/** Operating system and processor that an image is built for, in the specification's own words. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

/** Other names of architectures. A map, because an index may name one "constructor". */
const ARCHITECTURES: ReadonlyMap<string, readonly [architecture: string, variant?: string]> =
  new Map([
    ["x86_64", ["amd64"]],
    ["x86-64", ["amd64"]],
    ["i386", ["386"]],
    ["i486", ["386"]],
    ["i586", ["386"]],
    ["i686", ["386"]],
    ["aarch64", ["arm64"]],
    ["armhf", ["arm", "v7"]],
    ["armel", ["arm", "v6"]],
  ]);

/**
 * Brings a platform to its one canonical spelling: `x86_64` → `amd64`, `aarch64/v8` → `arm64`,
 * `arm` → `arm/v7`, all in lower case (as containerd/platforms does; C-140).
 */
export function normalizePlatform(platform: Platform): Platform {
  const os = platform.os.toLowerCase();
  const written = platform.architecture.toLowerCase();
  const [architecture, impliedVariant] = ARCHITECTURES.get(written) ?? [written];
  const variant = normalizeVariant(architecture, platform.variant?.toLowerCase() || impliedVariant);
  return { os: os === "macos" ? "darwin" : os, architecture, ...(variant ? { variant } : {}) };
}

function normalizeVariant(architecture: string, variant: string | undefined): string | undefined {
  if (architecture === "arm64") {
    if (/^v?8(\.0)?$/.test(variant ?? "v8")) return undefined;
    return /^v?9(\.0)?$/.test(variant ?? "") ? "v9" : variant;
  }
  if (architecture === "amd64") return variant === "v1" ? undefined : variant;
  if (architecture !== "arm") return variant;
  if (variant === undefined) return "v7";
  return /^[5-8]$/.test(variant) ? `v${variant}` : variant;
}

/** Reads a `platform` object of an index entry; missing parts become empty and match nothing. */
export function readPlatform(value: Readonly<Record<string, unknown>>): Platform {
  const text = (field: unknown) => (typeof field === "string" ? field : "");
  const variant = text(value["variant"]);
  const platform = { os: text(value["os"]), architecture: text(value["architecture"]) };
  return normalizePlatform(variant === "" ? platform : { ...platform, variant });
}

/**
 * Reads `os/architecture[/variant]` as a person writes it.
 *
 * @throws {Failure} `platform-invalid`
 */
export function parsePlatform(text: string): Platform {
  const [os, architecture, variant, ...rest] = text.split("/");
  const parts = [os, architecture, ...(variant === undefined ? [] : [variant])];
  if (
    rest.length > 0 ||
    !parts.every((part) => part !== undefined && /^[A-Za-z0-9_.-]+$/.test(part))
  ) {
    throw new Failure({
      code: "platform-invalid",
      message: `Cannot read platform ${quoted(text)}: expected os/architecture or os/architecture/variant`,
      hint: 'Write it like "linux/amd64" or "linux/arm/v7"',
    });
  }
  const platform = { os: os ?? "", architecture: architecture ?? "" };
  return normalizePlatform(variant === undefined ? platform : { ...platform, variant });
}

/** `os/architecture[/variant]`, the form that {@link parsePlatform} reads. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join("/");
}

/** Attestations and other things that are listed in an index but run nowhere. */
export function isRunnable(platform: Platform): boolean {
  return !(platform.os === "unknown" || platform.architecture === "unknown");
}

/**
 * What a machine can run, best first (containerd/platforms compare.go; C-141): its own variant, then
 * every older one, then the 32-bit sibling. An older machine is never given a newer variant.
 */
export function runnablePlatforms(wanted: Platform): readonly Platform[] {
  const { os, architecture, variant } = normalizePlatform(wanted);
  const of = (arch: string, variants: readonly (string | undefined)[]): Platform[] =>
    variants.map((v) => ({ os, architecture: arch, ...(v === undefined ? {} : { variant: v }) }));
  switch (architecture) {
    case "amd64":
      return [...of("amd64", amd64Variants(variant)), ...of("386", [undefined])];
    case "arm":
      return of("arm", armVariants(variant));
    case "arm64":
      return [...of("arm64", arm64Variants(variant)), ...of("arm", ["v8", "v7", "v6", "v5"])];
    default:
      return of(architecture, [variant]);
  }
}

/** v3 → v3, v2, v1, which is written as no variant; an unknown one still runs that. */
function amd64Variants(variant: string | undefined): (string | undefined)[] {
  if (variant === undefined) return [undefined];
  const known = ["v4", "v3", "v2"];
  const start = known.indexOf(variant);
  return start === -1 ? [variant, undefined] : [...known.slice(start), undefined];
}

function armVariants(variant: string | undefined): string[] {
  const known = ["v8", "v7", "v6", "v5"];
  const start = known.indexOf(variant ?? "v7");
  return start === -1 ? [variant ?? "v7"] : known.slice(start);
}

/** v9.N also runs v9 down and, an Armv9.N core being at least Armv8.(N+5), those of v8. */
function arm64Variants(variant: string | undefined): (string | undefined)[] {
  const [, major, minor = "0"] = /^v([89])(?:\.(\d{1,2}))?$/.exec(variant ?? "v8") ?? [];
  if (major === undefined) return [variant];
  const down = (family: string, top: number) =>
    Array.from({ length: top + 1 }, (_, i) =>
      top - i === 0 ? `v${family}` : `v${family}.${top - i}`,
    );
  const minorNumber = Number(minor);
  const v8 = down("8", major === "9" ? minorNumber + 5 : minorNumber);
  const own = major === "9" ? [...down("9", minorNumber), ...v8] : v8;
  return own.map((v) => (v === "v8" ? undefined : v));
}

/**
 * Chooses the entry that a machine of platform `wanted` should run: the best match, the first in
 * list order on ties; undefined when none matches. Entries without a platform are not considered.
 */
export function selectPlatform<T extends { readonly platform?: Platform }>(
  entries: readonly T[],
  wanted: Platform,
): T | undefined {
  for (const candidate of runnablePlatforms(wanted)) {
    const text = formatPlatform(candidate);
    const match = entries.find(
      ({ platform }) => platform !== undefined && formatPlatform(platform) === text,
    );
    if (match !== undefined) return match;
  }
  return undefined;
}
