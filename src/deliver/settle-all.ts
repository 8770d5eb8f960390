/**
 * What `Promise.all` gives, but with nothing left running behind its back: it waits for all tasks to
 * end, and then rejects with what the first of them in the list rejected with.
 */
export async function settleAll<T>(tasks: readonly Promise<T>[]): Promise<readonly T[]> {
  await Promise.allSettled(tasks);
  return Promise.all(tasks);
}

/**
 * Marks a task as one that is waited for later: should it fail before, its failure is kept for who waits,
 * and not taken for one that nobody heard of, which would end the program.
 */
export function inBackground<T>(task: Promise<T>): Promise<T> {
  task.catch(() => undefined);
  return task;
}
