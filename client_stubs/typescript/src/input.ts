import {Duration} from "./v1";

type Whole = bigint | boolean | number | string | Date | Function | Uint8Array | undefined;

/**
 * A message as a caller writes it: every field may be left out, and has its
 * default then.
 */
export type Input<T> = T extends Whole ? T
  : T extends Array<infer U> ? Array<Input<U>>
  : { [K in keyof T]?: Input<T[K]> };

/** A Duration of so many milliseconds; parts of them are kept to the nanosecond. */
export function duration(milliseconds: number): Duration {
  const nanos = Math.round(milliseconds * 1e6);
  if (!Number.isFinite(nanos)) throw new RangeError(`${milliseconds} is no number of milliseconds`);
  const seconds = Math.trunc(nanos / 1e9);
  return {seconds: BigInt(seconds), nanos: nanos - seconds * 1e9};
}

/** The same the other way round. @internal */
export function milliseconds({seconds, nanos}: Duration): number {
  return Number(seconds) * 1e3 + nanos / 1e6;
}
