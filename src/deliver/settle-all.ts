/**
 * What `Promise.all` gives, but with nothing left running behind its back: it waits for all tasks to
 * end, and then rejects with what the first of them in the list rejected with.
 */
export async function settleAll<T>(tasks: readonly Promise<T>[]): Promise<readonly T[]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}
