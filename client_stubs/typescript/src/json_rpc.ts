import {Input} from "./input";
import {JsonRpcError as ErrorMessage, Reply} from "./v1";

const METHOD_NOT_FOUND = -32601;
const INTERNAL_ERROR = -32603;

/** What a handler throws to give the client this JSON-RPC 2.0 error. */
export class JsonRpcError extends Error {
  /**
   * @param code says what kind of error it is; JSON-RPC 2.0 reserves -32768 to -32000.
   * @param message one sentence for people.
   * @param data more about it: what JSON can write. Undefined: none.
   */
  constructor(readonly code: number, message: string, readonly data?: unknown) {
    super(message);
    if (!Number.isSafeInteger(code)) throw new RangeError(`the code of a JSON-RPC error is an integer, not ${code}`);
    this.name = "JsonRpcError";
  }
}

/** @internal */
export function methodNotFound(): JsonRpcError {
  return new JsonRpcError(METHOD_NOT_FOUND, "Method not found");
}

/** What a client hears of a fault that is none of its business. @internal */
export function internalError(): JsonRpcError {
  return new JsonRpcError(INTERNAL_ERROR, "Internal error");
}

/** Throws when JSON cannot write `value`. Undefined becomes null. @internal */
export function toJson(value: unknown): Buffer {
  const text = JSON.stringify(value ?? null) as string | undefined;
  if (text === undefined) throw new TypeError(`JSON cannot write a ${typeof value}`);
  return Buffer.from(text);
}

/** The JSON of `bytes`; undefined when there are none. @internal */
export function fromJson(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString());
}

/** Throws when JSON cannot write its data. @internal */
export function errorReply(error: JsonRpcError): Input<Reply> {
  const message: Input<ErrorMessage> = {code: BigInt(error.code), message: error.message};
  if (error.data !== undefined) message.dataJson = toJson(error.data);
  return {error: message};
}
