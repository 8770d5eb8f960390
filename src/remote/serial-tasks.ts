/** Runs tasks of the same key one after the other, in the order they came; those of others beside them. */
export class SerialTasks {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs a task when all earlier ones of its key have ended, well or badly. */
  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const running = before.then(task, task);
    this.#last.set(key, running);
    try {
      return await running;
    } finally {
      if (this.#last.get(key) === running) this.#last.delete(key);
    }
  }
}
