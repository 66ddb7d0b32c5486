const FIRST = 100;
const MOST = 10_000;

/**
 * Milliseconds to wait before another attempt, when `failures` in a row came
 * before it: anything up to 0.1 s, doubled with each, to at most 10 s (full
 * jitter). @internal
 */
export function backoff(failures: number, random: () => number = Math.random): number {
  return random() * Math.min(MOST, FIRST * 2 ** failures);
}
