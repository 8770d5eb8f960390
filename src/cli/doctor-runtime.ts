import { existsSync } from "node:fs";
import { createMemoryStore } from "#content";
import { adviseContainerd, type RuntimeKind } from "#redirect";
import { CONTAINERD_SOCKET, Containerd, readConfigFile } from "#runtime";
import { defaultConfigDir } from "#site";
import type { CliContext } from "./context.ts";
import { type Check, fine, odd, type Sign, wrong } from "./sign.ts";

type Found = Omit<Sign, "check">;

const SOCKETS: Readonly<Record<RuntimeKind, string>> = {
  containerd: CONTAINERD_SOCKET,
  k3s: "/run/k3s/containerd/containerd.sock",
  rke2: "/run/k3s/containerd/containerd.sock",
};

/** What is looked at of a runtime. */
export interface RuntimeLook {
  /** Undefined: nobody says which there is, and what is found is looked at. */
  readonly kind: RuntimeKind | undefined;
  readonly socket: string | undefined;
  readonly configDir: string | undefined;
  readonly containerdConfig: string;
}

/** Whether the runtime is there, which one, and whether it reads the mirrors. */
export function runtimeCheck(runtime: RuntimeLook, { clock }: CliContext): Check {
  return {
    name: "runtime",
    async look(signal) {
      const { kind } = runtime;
      const candidates = kind === undefined ? Object.values(SOCKETS) : [SOCKETS[kind]];
      const wanted = runtime.socket === undefined ? candidates : [runtime.socket];
      const socket = wanted.find((path) => existsSync(path));
      if (socket === undefined) return [noSocket(wanted, kind)];
      using containerd = new Containerd({ socket, content: createMemoryStore(), clock });
      const { version, hasPinning } = await containerd.facts(signal);
      const signs: Found[] = [fine(`containerd ${version} at ${socket}`)];
      if (!hasPinning) {
        signs.push(
          odd(
            `containerd ${version} knows no pinning, so kubelet may remove images when the disk fills`,
            "Use containerd 1.7 or later, or keep the embedded registry running, which has them all",
          ),
        );
      }
      return kind === "containerd" ? [...signs, ...mirrorSigns(runtime)] : signs;
    },
  };
}

function noSocket(wanted: readonly string[], kind: RuntimeKind | undefined): Found {
  const paths = [...new Set(wanted)].join(" nor ");
  if (kind === undefined) return fine(`no runtime is named, and none is at ${paths}`);
  return wrong(
    `there is no socket at ${paths}`,
    `Start ${kind}, or set runtime.socket of the site file to where it listens`,
  );
}

function mirrorSigns({ configDir, containerdConfig }: RuntimeLook): readonly Found[] {
  const folder = configDir ?? defaultConfigDir("containerd");
  const advice = adviseContainerd(readConfigFile(containerdConfig), folder);
  if (advice === undefined) return [fine(`containerd reads the mirrors in ${folder}`)];
  return [
    odd(
      `containerd may not read the mirrors in ${folder}: in ${containerdConfig}, ${advice.problem}`,
      "Run `dray redirect containerd --dry-run`, which prints the lines to set, and restart containerd",
    ),
  ];
}
