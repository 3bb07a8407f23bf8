/** Values that arrive by callbacks, read by `for await`. */
export class Arrivals<T> implements AsyncIterable<T> {
  private values: T[] = [];
  private failure: { error: unknown } | undefined;
  private isOver = false;
  private wake: () => void = () => {};

  push(value: T): void {
    this.values.push(value);
    this.wake();
  }

  /** No more come; the first end counts. */
  end(failure?: { error: unknown }): void {
    if (this.isOver) return;
    this.isOver = true;
    this.failure = failure;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      while (this.values.length) yield this.values.shift() as T;
      if (this.failure) throw this.failure.error;
      if (this.isOver) return;
      await new Promise<void>((done) => (this.wake = done));
    }
  }
}
