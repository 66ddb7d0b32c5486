/**
 * Handlers by method: a whole name such as `orders.create`, all names with a
 * prefix such as `orders.*`, or `*`. A whole name goes before a prefix, and a
 * longer prefix before a shorter one, as with the broker. @internal
 */
export class Patterns<Handler> {
  private readonly handlers = new Map<string, Handler>();

  get all(): string[] {
    return [...this.handlers.keys()];
  }

  add(pattern: string, handler: Handler): void {
    const bytes = Buffer.byteLength(pattern);
    if (bytes < 1 || bytes > 256) throw new RangeError(`a pattern has 1 to 256 bytes, not ${bytes}`);
    if (this.handlers.has(pattern)) throw new Error(`${pattern} has a handler already`);
    this.handlers.set(pattern, handler);
  }

  find(method: string): Handler | undefined {
    const whole = this.handlers.get(method);
    if (whole) return whole;
    let found: Handler | undefined;
    let longest = 0;
    for (const [pattern, handler] of this.handlers) {
      if (pattern.endsWith("*") && pattern.length > longest && method.startsWith(pattern.slice(0, -1))) {
        found = handler;
        longest = pattern.length;
      }
    }
    return found;
  }
}
