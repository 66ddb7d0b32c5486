// What a handler is given beside the message.

import {checkMethod, checkSize, paramsToJson} from "./json_rpc";
import {AttachStream} from "./streams";
import {ClientMessage, Identity, Message} from "./v1";

/** What is known of any message of a client. */
export interface MessageContext {
  /** The connection that it came from. */
  readonly connectionId: string;
  /** Who that belongs to, as it was when the message came. */
  readonly identity: Identity;
  /** The endpoint: the configured path that the client connected to. */
  readonly endpoint: string;
  /** The client's IP address, without the port. */
  readonly remoteAddress: string;
  /** The client's port. */
  readonly remotePort: number;
  /** Counts the messages of this connection, from 1. */
  readonly sequence: bigint;
  /** The W3C trace context that the client gave; empty when there is none. */
  readonly traceparent: string;
  /**
   * Aborted when nobody waits for the reply any more: the client cancelled the
   * request or is gone, the reply has taken too long, or the broker is lost; and
   * when a drain is cut. What the handler still returns is dropped.
   */
  readonly signal: AbortSignal;
}

/** Of a JSON-RPC request or notification. */
export interface MethodContext extends MessageContext {
  readonly method: string;
  /** It has no reply: what the handler returns is dropped. */
  readonly isNotification: boolean;
  /**
   * Sends a notification to this connection; it arrives before the reply, when
   * it is called before the handler ends. Resolves when there is room for more.
   * One to a client that is gone is dropped, and nobody is told. Needs the role
   * `send`.
   * @param method 1 to 256 bytes, and not `rpc.` and more.
   * @param params an object or an array, at most 31 levels deep and 3 MiB long. Undefined: none.
   */
  notify(method: string, params?: object): Promise<void>;
}

/** Of a message of a namespace with framing RAW. */
export interface RawContext extends MessageContext {
  /** Sends text (a string) or binary, at most 3 MiB, to this connection. As `MethodContext.notify`. */
  send(data: string | Uint8Array): Promise<void>;
}

/** Of a handshake. */
export interface HandshakeContext {
  /** The pending connection. */
  readonly connectionId: string;
  /**
   * Aborted when the time for the offer is over, 5 s unless the endpoint's
   * `offer_timeout` is another: it goes to another service then. Also when the
   * broker is lost, and when a drain is cut.
   */
  readonly signal: AbortSignal;
}

/** See `refuse`. */
export class Refusal {
  /** @internal */
  constructor(readonly reason: string) {}
}

const REASON_BYTES = 123;

/**
 * What a handler of handshakes returns to refuse the client: it is closed with
 * 4006.
 * @param reason for the client to read, at most 123 bytes. Empty: "Not admitted".
 */
export function refuse(reason = ""): Refusal {
  const bytes = Buffer.byteLength(reason);
  if (bytes > REASON_BYTES) throw new RangeError(`the reason has ${bytes} bytes, at most ${REASON_BYTES} are allowed`);
  return new Refusal(reason);
}

/** @internal */
export class Context implements MethodContext, RawContext {
  readonly connectionId: string;
  readonly identity: Identity;
  readonly endpoint: string;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly sequence: bigint;
  readonly traceparent: string;
  readonly method: string;
  readonly isNotification: boolean;

  constructor(private readonly stream: AttachStream, message: ClientMessage, readonly signal: AbortSignal) {
    this.connectionId = message.connectionId;
    this.identity = message.identity ?? Identity.create();
    this.endpoint = message.endpoint;
    this.remoteAddress = message.remoteAddress;
    this.remotePort = message.remotePort;
    this.sequence = message.sequence;
    this.traceparent = message.traceparent;
    this.method = (message.request ?? message.notification)?.method ?? "";
    this.isNotification = message.notification !== undefined;
  }

  // Bound, so that a handler may take them out of its context.
  readonly notify = async (method: string, params?: object): Promise<void> => {
    checkMethod(method);
    const paramsJson = params === undefined ? undefined : paramsToJson(params);
    await this.deliver(Message.create({notification: {method, paramsJson}}));
  };

  readonly send = async (data: string | Uint8Array): Promise<void> => {
    if (typeof data !== "string" && !(data instanceof Uint8Array)) {
      throw new TypeError(`a message is a string or a Uint8Array, not ${typeof data}`);
    }
    checkSize(Buffer.byteLength(data));
    await this.deliver(Message.create(typeof data === "string" ? {text: data} : {binary: data}));
  };

  private deliver(message: Message): Promise<void> {
    return this.stream.send({connectionId: this.connectionId, message});
  }
}
