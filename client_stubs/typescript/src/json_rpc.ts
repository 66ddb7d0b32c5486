import {Input} from "./input";
import {JsonRpcError as ErrorMessage, Reply} from "./v1";

/** So deep may params and a result be. @internal */
export const PARAMS_LEVELS = 31;
/** @internal */
export const RESULT_LEVELS = 31;
const DATA_LEVELS = 30;
const METHOD_BYTES = 256;
// The most that an endpoint can allow. What is longer reaches no client, and far
// longer ones would end the stream.
const MESSAGE_BYTES = 3 * 1024 * 1024;
// JSON.stringify writes half a surrogate pair, as `text.slice` may leave it, as
// `\ud83d`, and nothing else so.
const HALF_PAIR = /(?<!\\)(?:\\\\)*\\ud/;
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

/**
 * JSON that the broker takes; throws when there is none for `value`. Undefined
 * becomes null. Of a text that the broker does not take only the broker's log would
 * say why; so it is found here. @internal
 */
export function toJson(value: unknown, levels: number): Buffer {
  const text = JSON.stringify(value ?? null) as string | undefined;
  if (text === undefined) throw new TypeError(`JSON cannot write a ${typeof value}`);
  if (HALF_PAIR.test(text)) throw new RangeError("the JSON has a string with half a surrogate pair");
  const depth = depthOf(text);
  if (depth > levels) throw new RangeError(`the JSON is ${depth} levels deep, ${levels} are allowed`);
  const result = Buffer.from(text);
  checkSize(result.length);
  return result;
}

/** The params of a notification as such JSON. @internal */
export function paramsToJson(params: object): Buffer {
  const result = toJson(params, PARAMS_LEVELS);
  // A Date, for one, is an object, and no object in JSON.
  if (result[0] !== 0x7b && result[0] !== 0x5b) {
    throw new TypeError("params are an object or an array, or undefined");
  }
  return result;
}

/** Throws for what is too long for any client. @internal */
export function checkSize(bytes: number): void {
  if (bytes > MESSAGE_BYTES) throw new RangeError(`a message has ${bytes} bytes, at most ${MESSAGE_BYTES} are allowed`);
}

function depthOf(json: string): number {
  let [depth, deepest, quoted] = [0, 0, false];
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (quoted && character === "\\") at++;
    else if (character === '"') quoted = !quoted;
    else if (quoted) continue;
    else if (character === "[" || character === "{") deepest = Math.max(deepest, ++depth);
    else if (character === "]" || character === "}") depth--;
  }
  return deepest;
}

/** Throws when the broker would not carry a notification of this method to clients. @internal */
export function checkMethod(method: string): void {
  const bytes = Buffer.byteLength(method);
  if (bytes < 1 || bytes > METHOD_BYTES) throw new RangeError(`a method has 1 to ${METHOD_BYTES} bytes, not ${bytes}`);
  if (method.startsWith("rpc.")) {
    throw new RangeError(`the method ${method}: names that begin with "rpc." are reserved by JSON-RPC 2.0`);
  }
}

/** The JSON of `bytes`; undefined when there are none. @internal */
export function fromJson(bytes: Uint8Array): unknown {
  return bytes.length === 0 ? undefined : JSON.parse(Buffer.from(bytes).toString());
}

/** Throws when JSON cannot write its data. @internal */
export function errorReply(error: JsonRpcError): Input<Reply> {
  const message: Input<ErrorMessage> = {code: BigInt(error.code), message: error.message};
  if (error.data !== undefined) message.dataJson = toJson(error.data, DATA_LEVELS);
  return {error: message};
}
