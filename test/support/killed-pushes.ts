import { hasDistribution3, hasDockerRegistry, startDockerRegistry } from "./docker-registry.ts";
import { startEmptyRegistryProgram } from "./serving-program.ts";

/** A registry that is pushed to by what is killed meanwhile. */
export interface KilledPushRegistry {
  readonly name: string;
  /** Whether the machine has it. */
  readonly isHere: boolean;
  /** Whether it keeps what came of a chunk that was cut, so that almost nothing is sent twice. */
  readonly keeps: boolean;
  readonly start: () => Promise<{ readonly address: string } & AsyncDisposable>;
}

/** Ours, and the two of distribution: the older one makes whoever was cut begin anew. */
export const KILLED_PUSH_REGISTRIES: readonly KilledPushRegistry[] = [
  { name: "dray registry serve", isHere: true, keeps: true, start: startEmptyRegistryProgram },
  {
    name: "distribution 3",
    isHere: hasDistribution3,
    keeps: true,
    start: () => startDockerRegistry({ program: "registry" }),
  },
  {
    name: "docker-registry 2.8",
    isHere: hasDockerRegistry,
    keeps: false,
    start: () => startDockerRegistry(),
  },
];

for (const { name } of KILLED_PUSH_REGISTRIES.filter(({ isHere }) => !isHere)) {
  console.warn(`${name} is not installed: its tests are left out`);
}
