import { createHash } from "node:crypto";

/** Chance that a seed decides: the same seed always gives the same answers in the same order. */
export interface Chance {
  /** A whole number from 0 on, below `limit`. */
  below(limit: number): number;
  pick<T>(choices: readonly [T, ...T[]]): T;
  /** True with the given probability. */
  happens(probability: number): boolean;
}

/** Chance of its own for each seed: what one part of a test draws moves nothing in another. */
export function createChance(seed: string): Chance {
  let draws = 0;
  const draw = (): number => {
    draws += 1;
    const digest = createHash("sha256").update(`${seed}/${draws}`).digest();
    return digest.readUIntBE(0, 6) / 2 ** 48;
  };
  const below = (limit: number) => Math.floor(draw() * limit);
  return {
    below,
    pick: (choices) => choices[below(choices.length)] ?? choices[0],
    happens: (probability) => draw() < probability,
  };
}
