import { assert, Failure, isFailure, Limiter } from "#base";
import type { Target } from "#content";
import type { Access } from "#credential";
import type { LocalRegistry, UploadNeed } from "#deliver";
import { HarborClient, prepareHarbor } from "#harbor";
import type { Plan } from "#plan";
import type { LocalRegistrySettings } from "#profile";
import { type Reference, tagOrDigest } from "#reference";
import type { Remote, RemoteNotice } from "#remote";
import type { SiteContext } from "./context.ts";
import { robotSecretsIn } from "./robot-secrets.ts";

/** What a local registry is opened with. */
export interface LocalRegistryOptions {
  readonly local: NonNullable<Plan["registries"]["local"]>;
  readonly settings: LocalRegistrySettings;
  /** Is near, and not of the uplink: it is neither held back nor counted. */
  readonly remote: Remote;
  /** Where secrets of Harbor's robot accounts are kept. */
  readonly dataDir: string;
  readonly context: Pick<SiteContext, "clock" | "random">;
  readonly onNotice: (notice: RemoteNotice) => void;
}

/**
 * The local registry of a plan as a delivery wants it, whatever kind it is. Undefined when the plan has
 * none, or its address is not known.
 */
export function openLocalRegistry(options: LocalRegistryOptions): LocalRegistry | undefined {
  const { kind, address } = options.local;
  if (address === null) return undefined;
  switch (kind) {
    case "embedded":
      return embeddedRegistry(address);
    case "oci":
      return plainRegistry(address, options);
    case "harbor":
      return harborRegistry(address, options);
  }
}

/** It serves every image of the store under its declared name, with and without the project in front. */
function embeddedRegistry(address: string): LocalRegistry {
  return {
    address,
    servesTheStore: true,
    prepare: async () => undefined,
    target() {
      throw new Error("Broken assertion: nothing is pushed to the registry that serves the store");
    },
  };
}

/** Any registry: it has no API to be asked by, so the first name that it is to have is asked for. */
function plainRegistry(address: string, { local, remote }: LocalRegistryOptions): LocalRegistry {
  const target = (name: Reference) => remote.target(name, local.access);
  return {
    address,
    async prepare({ names: [first] }, { signal }) {
      if (first === undefined) return;
      try {
        // Who waits for it asks again; this one attempt must not take a minute.
        await target(first).resolve(tagOrDigest(first), { signal, patience: "brief" });
      } catch (error) {
        if (!isFailure(error, "content-missing")) throw error;
        await checkRegistry(address, { local, remote, signal });
      }
    },
    target,
  };
}

/** A cluster's ingress that does not know the registry yet has no image either. */
async function checkRegistry(
  address: string,
  {
    local: { access },
    remote,
    signal,
  }: Pick<LocalRegistryOptions, "local" | "remote"> & { readonly signal: AbortSignal },
): Promise<void> {
  const { insecure, certificates } = access;
  const task = `find a registry at ${address}`;
  const api = remote.api(address, { origin: null, insecure, certificates });
  const { status } = await api.request({ method: "GET", path: "/v2/", task, signal });
  if (status !== 404) return;
  throw new Failure({
    code: "registry-absent",
    message: `Cannot ${task}: it answered 404 to /v2/, expected 200 or 401`,
    hint: "Wait until the registry is installed; if it stays so, check the address: an ingress or another service answers there",
    transient: true,
  });
}

const DAY_MS = 24 * 3_600_000;

function harborRegistry(address: string, options: LocalRegistryOptions): LocalRegistry {
  const { local, settings, remote, dataDir, context, onNotice } = options;
  const { clock, random } = context;
  const { project, access } = local;
  const secrets = robotSecretsIn(dataDir);
  const clientFor = (as: Access) => new HarborClient(remote.api(address, as), as);
  const told = new Set<string>();
  let pushAccess: Access | undefined;
  return {
    address,
    async prepare({ names, blobs }, { signal }) {
      const wishes = {
        project,
        isPublic: settings.visibility === "public",
        needBytes: blobs.reduce((bytes, { blob }) => bytes + blob.size, 0),
        presentBytes: (push: Access) => presentBytes(blobs, push, { remote, signal }),
        images: names.map(({ path, tag }) => ({
          repository: path.slice(project.length + 1),
          tag: tag ?? null,
        })),
        rotateAfterMs: settings.rotateDays * DAY_MS,
      };
      const ports = { clientFor, access, secrets, clock, random };
      const { push, warnings } = await prepareHarbor(ports, wishes, { signal });
      pushAccess = push.access;
      for (const { message, hint } of warnings) {
        if (told.has(message)) continue;
        told.add(message);
        onNotice({ registry: address, message: `${message}. ${hint}` });
      }
    },
    target(name): Target {
      assert(pushAccess !== undefined, "a Harbor is prepared before it is pushed to");
      return remote.target(name, pushAccess);
    },
  };
}

/** Blobs that are asked for at once. */
const REQUESTS_MAX = 16;

/** What of the blobs the registry has in the repository of an image that needs them. */
async function presentBytes(
  blobs: UploadNeed["blobs"],
  access: Access,
  { remote, signal }: { readonly remote: Remote; readonly signal: AbortSignal },
): Promise<number> {
  const requests = new Limiter(REQUESTS_MAX);
  const sizes = await Promise.all(
    blobs.map(({ blob, name }) =>
      requests.run(signal, async () => {
        const isThere = await remote.target(name, access).has(blob, { signal });
        return isThere ? blob.size : 0;
      }),
    ),
  );
  return sizes.reduce((bytes, size) => bytes + size, 0);
}
