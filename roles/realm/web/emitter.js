// Who wants to know when something happens. Pure.

export class Emitter {
  #listeners = new Map();

  /** Calls `listener` at each `name`; what it returns ends that. */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  emit(name, ...what) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) listener(...what);
  }
}
