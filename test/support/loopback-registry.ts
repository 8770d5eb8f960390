import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemClock } from "#base";
import {
  type Access,
  createAccess,
  createRegistry,
  openHtpasswd,
  type ServedRequest,
  serveRegistry,
} from "#registry";
import { openStore } from "#store";
import { buildImage, type ImageOptions } from "./images.ts";

/** What a registry for a test holds and asks for. */
export interface LoopbackRegistryOptions {
  /** Names within the registry (`spectro-images/app:v1`) and how their images are made. */
  readonly images: Readonly<Record<string, ImageOptions>>;
  /** With them, every request needs them. */
  readonly login?: Login;
  readonly tls?: { readonly cert: string; readonly key: string };
  readonly port?: number;
}

/** A registry of our own on a free port of loopback. */
export interface LoopbackRegistry extends AsyncDisposable {
  readonly address: string;
  /** All requests so far, in the order of their answers. */
  readonly requests: readonly ServedRequest[];
  /** From now on requests need this login in place of the one before. */
  changeLogin(login: Login): Promise<void>;
  stop(): Promise<void>;
}

/** Fills a store in `folder` with generated images and serves it. */
export async function startLoopbackRegistry(
  folder: string,
  { images, login, tls, port = 0 }: LoopbackRegistryOptions,
): Promise<LoopbackRegistry> {
  const store = await openStore(folder, { clock: systemClock });
  for (const [name, options] of Object.entries(images)) await buildImage(store, name, options);
  const requests: ServedRequest[] = [];
  const registry = createRegistry({
    store,
    isWritable: false,
    ...(login === undefined ? {} : { access: await accessFor(folder, login) }),
    onRequest: (request) => requests.push(request),
  });
  const server = serveRegistry({
    registry,
    hostname: "127.0.0.1",
    port,
    clock: systemClock,
    ...(tls === undefined ? {} : { tls }),
  });
  return {
    address: server.address,
    requests,
    async changeLogin(next) {
      await writeHtpasswd(folder, next);
    },
    stop: async () => server[Symbol.asyncDispose](),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
  };
}

interface Login {
  readonly username: string;
  readonly password: string;
}

async function accessFor(folder: string, login: Login): Promise<Access> {
  const users = await openHtpasswd(await writeHtpasswd(folder, login));
  return createAccess({ users, clock: systemClock });
}

async function writeHtpasswd(folder: string, { username, password }: Login): Promise<string> {
  const path = join(folder, "htpasswd");
  const hash = await Bun.password.hash(password, { algorithm: "bcrypt", cost: 4 });
  await writeFile(path, `${username}:${hash}\n`, { mode: 0o600 });
  return path;
}
