/**
 * The client of socket-broker for browsers: one connection that comes back, with
 * JSON-RPC 2.0 in both directions. All times are milliseconds.
 */

/** What the connection does after a close code. */
export type Reconnect =
  /** At once, if it is the first try since a connection stood for `stableAfter`; else as `jitter`. */
  | 'at once'
  /** It waits for anything between 0 and 0.5 s, doubled with each attempt that failed, up to 30 s. */
  | 'jitter'
  /** It waits for anything between 15 and 30 s. */
  | 'later'
  /**
   * As `jitter`, but when the ticket provider rejects it is over: `unauthenticated`. Without a provider it is
   * over at once, for only the application can authenticate anew.
   */
  | 'reauthenticate'
  /** Never: it is closed, until `connect()`. */
  | 'never';

/**
 * What the connection does after each close code, unless `closeCodes` says otherwise: the broker's codes, and
 * 1006, which browsers report when there was no close frame, such as after a handshake that was refused. A code
 * that is not here is taken as 1006.
 */
export const CLOSE_CODES: Readonly<Record<number, Reconnect>>;

/** A JSON-RPC 2.0 error: the server's, or one that a handler throws for the server to get. */
export class JsonRpcError extends Error {
  /**
   * @param code an integer; JSON-RPC 2.0 reserves -32768 to -32000. Else: TypeError.
   * @param message one sentence for people.
   * @param data more about it: any JSON value. Left out when undefined.
   */
  constructor(code: number, message: string, data?: unknown);
  readonly name: 'JsonRpcError';
  readonly code: number;
  readonly data: unknown;
}

export type ConnectionErrorCode =
  /** The connection was lost after the request was sent: it may have been done. */
  | 'disconnected'
  /** The connection is closed, and the request was not sent. */
  | 'closed'
  /** The connection was revoked, or needs an authentication that it did not get. */
  | 'unauthenticated'
  /** There was no reply in time. */
  | 'timeout'
  /** As many messages wait for the connection as may (`maxQueue`): this one was not taken. */
  | 'queue_full'
  /** The server sent what is no JSON-RPC 2.0 message, or a reply to what was not asked. Only in `error` events. */
  | 'malformed';

/** What went wrong with the connection. */
export class ConnectionError extends Error {
  /** A ticket provider throws it with `unauthenticated` when nobody is logged in: the connection then ends. */
  constructor(code: ConnectionErrorCode, message: string, options?: {sent?: boolean; cause?: unknown});
  readonly name: 'ConnectionError';
  readonly code: ConnectionErrorCode;
  /** Whether the request had been sent, so that the server may have done it. False for what is no request. */
  readonly sent: boolean;
}

/**
 * - `connecting`: it gets a ticket, or a socket.
 * - `open`: messages go out at once. The broker may have yet to admit the connection; it keeps them meanwhile.
 * - `waiting`: for the next attempt.
 * - `closed`: for good, unless `connect()` is called.
 */
export type ConnectionState = 'connecting' | 'open' | 'waiting' | 'closed';

/** JSON-RPC 2.0 params. */
export type Params = object | readonly unknown[];

export interface Heartbeat {
  /** The method of the request that is sent. Any reply will do, an error too. */
  method: string;
  /** How long the server may be silent before it is asked. Default: 30,000. */
  interval?: number;
  /** How long it may be silent after that before it is given up: close 4002, and a new connection. Default: 10,000. */
  timeout?: number;
}

/** What is wrong in here makes the constructor throw a TypeError that names it. */
export interface ConnectionOptions {
  /** Where: ws:, wss:, http: or https:, in a page also relative to it. */
  url: string | URL;
  /**
   * Gets a ticket, which is good for one socket: called before each attempt to connect, and given up when
   * `signal` is aborted. When it rejects it is called again after a wait as for `jitter`; but see `reauthenticate`,
   * and `unauthenticated` of ConnectionError. Default: none, and the broker knows the client by other means.
   */
  ticket?: (context: {signal: AbortSignal}) => Promise<string>;
  /** How long a request may take, the wait for the connection included, unless it says otherwise. Default: 30,000. */
  timeout?: number;
  /** How many requests and notifications may wait for the connection. 0: none. Default: 100. */
  maxQueue?: number;
  /**
   * The notification that cancels a request, in both directions, params {request_id}; as the endpoint's
   * `cancel_method`. Empty: none. Default: cancel.
   */
  cancelMethod?: string;
  /**
   * Finds out that the server is gone. Default: none; the broker's pings are answered by the browser, and tell the
   * page nothing.
   */
  heartbeat?: Heartbeat;
  /** What to do after these close codes instead of what CLOSE_CODES says. */
  closeCodes?: Record<number, Reconnect>;
  /** How long an attempt may take, the ticket included. Default: 20,000. */
  connectTimeout?: number;
  /** How long a connection must stand for the failures before it to be forgotten. Default: 10,000. */
  stableAfter?: number;
  /** The class to make sockets of. Default: that of the browser, or of Node.js 22 and later. */
  WebSocket?: new (url: string, protocols?: string[]) => unknown;
}

export interface RequestOptions {
  /** As in ConnectionOptions. Infinity: without an end. */
  timeout?: number;
  /** Aborts the request: it rejects with the signal's reason. */
  signal?: AbortSignal;
}

export interface HandlerContext {
  /** The method that was called. */
  method: string;
  /** The server's id of a request. Not there for a notification. */
  id?: string | number;
  /** Aborted when the server cancels a request, or the connection is gone. Not there for a notification. */
  signal?: AbortSignal;
}

/**
 * Handles a notification or a request of the server. Of a request, what it returns or its promise resolves to is the
 * result, null for undefined; a JsonRpcError that it throws is the reply; for anything else that it throws the server
 * gets -32603, "Internal error", and nothing of its text, and the page an `error` event.
 */
export type Handler = (params: any, context: HandlerContext) => unknown;

/** What the socket was closed with. Not there when there was none, and after `close()`. */
export interface Closed {
  readonly closeCode?: number;
  readonly closeReason?: string;
}

export interface ConnectionEventMap {
  connecting: Event;
  /** What waited has been sent. */
  open: Event;
  /** `delay`: how long until the next attempt. */
  waiting: Event & Closed & {readonly delay: number};
  /** `error`: why; `closed` or `unauthenticated`, with the provider's rejection as its `cause`. */
  closed: Event & Closed & {readonly error: ConnectionError};
  /** The broker closed it with 4001. Comes after `closed`, or after `waiting` where `closeCodes` has it reconnect. */
  revoked: Event & Closed;
  /**
   * Something went wrong that ends nothing: a ticket provider that rejected, a handler that threw, a message that was
   * `malformed`, which is then in `data` and was ignored, or an error that the server sent without saying for which
   * request.
   */
  error: Event & {readonly error: unknown; readonly data?: unknown};
}

/** One connection, which comes back until it is closed. */
export class Connection extends EventTarget {
  /** Starts to connect. */
  constructor(options: ConnectionOptions);

  readonly state: ConnectionState;

  /** Tries at once when it is waiting; connects again when it is closed; else does nothing. */
  connect(): void;

  /** Closes the socket with 1000, and stays closed. Requests fail with `disconnected` or `closed`. */
  close(): void;

  /**
   * Asks the server. Waits for the connection when there is none; never asks twice. Rejects with JsonRpcError, the
   * server's; ConnectionError; the signal's reason; or TypeError for what cannot be sent. After a timeout or an abort
   * the server is told by `cancelMethod`.
   */
  request<Result = unknown>(method: string, params?: Params, options?: RequestOptions): Promise<Result>;

  /**
   * Tells the server. Waits for the connection when there is none, and is lost without a word when that is lost.
   * Throws ConnectionError `closed` or `queue_full`, or TypeError for what cannot be sent.
   */
  notify(method: string, params?: Params): void;

  /**
   * Handles a method of the server. One handler for each: a second is a TypeError. A request without a handler is
   * answered with -32601, a notification ignored.
   * @returns takes the handler off.
   */
  on(method: string, handler: Handler): () => void;

  addEventListener<Type extends keyof ConnectionEventMap>(
    type: Type, listener: (event: ConnectionEventMap[Type]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(
    type: string, listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions): void;
}
