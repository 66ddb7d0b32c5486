// Service: handlers for what clients send, who they are and what becomes of them,
// attached to the broker for as long as it runs.

import {setTimeout as sleep} from "node:timers/promises";
import {status} from "@grpc/grpc-js";
import {Attachment, Handlers, HandshakeHandler, RawHandler} from "./attachment";
import {backoff} from "./backoff";
import {Client} from "./client";
import {MethodContext} from "./context";
import {BrokerError} from "./error";
import {Input} from "./input";
import {Logger} from "./logger";
import * as v1 from "./v1";
import {Work} from "./work";

/** Events that may wait for their handler here; more wait with the broker. */
const EVENTS = 1000;
/** The longest that a timer can wait; one for longer is over at once. */
const LONGEST = 2 ** 31 - 1;
const STICKY = {
  none: v1.AttachMessages_Sticky.UNSPECIFIED,
  connection: v1.AttachMessages_Sticky.CONNECTION,
  account: v1.AttachMessages_Sticky.ACCOUNT,
};

export interface ServiceOptions {
  /** Where. Default: "default". */
  namespace?: string;
  /** Handlers of messages at once, 1 to 100,000; further messages wait with the broker. Default: 64. */
  concurrency?: number;
  /** Handlers of handshakes at once, 1 to 10,000. Default: 64. */
  handshakeConcurrency?: number;
  /** What stays with this service once it got the first of it: see AttachMessages.Sticky. Default: "none". */
  sticky?: keyof typeof STICKY;
  /** A request may be given to another service when this one is lost before it replied. Default: false. */
  idempotent?: boolean;
  /** Takes messages only of the connections that this AIP-160 text matches. Default: of all. */
  filter?: string;
  /** Hears only of the connections that this AIP-160 text matches. Default: of all. */
  eventsFilter?: string;
  /** Default: `console`. */
  logger?: Logger;
}

/**
 * A service attached to the broker. Give it handlers, then `run` it, once.
 * Handlers of requests and notifications start in the order of these; those that
 * wait for something do so side by side.
 */
export class Service {
  private readonly handlers = new Handlers();
  private readonly logger: Logger;
  private readonly work: Work;
  private attachment?: Attachment;
  private running = false;
  private readonly draining = new AbortController();
  private readonly cutting = new AbortController();
  private readonly ended: Promise<void>;
  private end!: () => void;

  constructor(private readonly client: Client, private readonly options: ServiceOptions = {}) {
    const sticky = options.sticky ?? "none";
    if (!Object.hasOwn(STICKY, sticky)) {
      throw new RangeError(`sticky is ${sticky}; ${Object.keys(STICKY).join(", ")} are allowed`);
    }
    this.logger = options.logger ?? console;
    this.work = new Work({
      messages: inRange("concurrency", options.concurrency ?? 64, 100_000),
      handshakes: inRange("handshakeConcurrency", options.handshakeConcurrency ?? 64, 10_000),
      events: EVENTS,
    }, this.logger);
    this.ended = new Promise((resolve) => { this.end = resolve; });
  }

  /**
   * Takes requests and notifications of clients. Of several patterns that match
   * a method the most specific has it. What the handler returns is the result,
   * undefined as null; a JsonRpcError that it throws or returns is the client's
   * error. Of anything else that it throws the client hears "Internal error", and
   * the log the rest.
   * Messages of one connection may be handled at the same time, unless its
   * endpoint has `message_order` STRICT.
   * @param pattern `orders.create`, all names with a prefix as `orders.*`, or `*`.
   * @param handler gets the params as JSON.parse reads them, undefined when there are none.
   */
  on<Params = unknown>(pattern: string, handler: (params: Params, context: MethodContext) => unknown): this {
    return this.set(() => this.handlers.methods.add(pattern, handler));
  }

  /**
   * Takes the messages of a namespace with framing RAW: text as a string, binary
   * as bytes. Those of one connection are handled one after another.
   */
  onMessage(handler: RawHandler): this {
    return this.set(() => { this.handlers.raw = handler; });
  }

  /**
   * Judges clients that connect to endpoints with the way ATTACH: returns whom
   * the client belongs to, or `refuse()`. Look the credential up in the handler,
   * not in a cache: a revocation since the client came then refuses it. A
   * handler that throws leaves the client to another service.
   */
  onHandshake(handler: HandshakeHandler): this {
    return this.set(() => { this.handlers.handshake = handler; });
  }

  /** A connection is admitted. Handlers of events run one at a time, in the order of the events. */
  onAdmitted(handler: (connection: v1.Connection) => unknown): this {
    return this.set(() => { this.handlers.admitted = handler; });
  }

  /** The identity of an admitted connection has changed. */
  onUpdated(handler: (connection: v1.Connection) => unknown): this {
    return this.set(() => { this.handlers.updated = handler; });
  }

  /** A connection is closing. */
  onClosed(handler: (event: v1.ConnectionClosed) => unknown): this {
    return this.set(() => { this.handlers.closed = handler; });
  }

  /**
   * It is attached, for the first time or again; called before its first event.
   * Between two attachments nothing is told.
   */
  onStarted(handler: (started: v1.AttachStarted) => unknown): this {
    return this.set(() => { this.handlers.started = handler; });
  }

  /** Events were lost, since their handlers are too slow. It attaches again at once, and says so by `onStarted`. */
  onEventsLost(handler: () => unknown): this {
    return this.set(() => { this.handlers.eventsLost = handler; });
  }

  /**
   * Attaches, and again whenever the stream is lost, until `drain`. Throws the
   * BrokerError when the broker will not have this service: INVALID_ARGUMENT,
   * UNAUTHENTICATED and PERMISSION_DENIED.
   */
  async run(): Promise<void> {
    if (this.running) throw new Error("a Service runs once");
    this.running = true;
    try {
      const start = this.attachStart();
      let failures = 0;
      while (!this.draining.signal.aborted) {
        const attachment = this.attach(start);
        const error = await attachment.run();
        const draining = this.draining.signal.aborted;
        // A drain that went well leaves the handlers of what has no reply alone.
        if (error || !draining) attachment.abandon();
        if (error && isFinal(error, attachment.started)) throw error;
        if (draining) break;
        if (attachment.started) failures = 0;
        await this.recover(error, backoff(failures));
        failures += 1;
      }
      await Promise.race([this.work.idle(), aborted(this.cutting.signal)]);
    } finally {
      this.work.abort(new Error("the service has ended"));
      this.end();
    }
  }

  /**
   * Takes nothing new, lets the handlers end, and then `run`. Called again it
   * cuts them off: their signals are aborted, and `run` ends at once.
   * @param limit milliseconds until it is cut off in any case. Default: never.
   * @returns when `run` has ended; so a handler must not wait for it.
   */
  async drain(limit?: number): Promise<void> {
    if (!this.running) {
      this.draining.abort();
      return;
    }
    if (this.draining.signal.aborted) this.cut();
    this.draining.abort();
    this.attachment?.drain();
    const timer = limit === undefined ? undefined : setTimeout(() => this.cut(), Math.min(limit, LONGEST));
    await this.ended;
    clearTimeout(timer);
  }

  private set(change: () => void): this {
    if (this.running) throw new Error("a Service takes its handlers before it runs");
    change();
    return this;
  }

  private cut(): void {
    this.cutting.abort();
    this.work.abort(new Error("the service is cut off"));
    this.attachment?.cut();
  }

  private attach(start: Input<v1.AttachStart>): Attachment {
    // Not waiting: what keeps it from connecting is for the log.
    const stream = this.client.attach({...start, credit: this.work.credit}, {waitForReady: false});
    this.work.stream = stream;
    this.attachment = new Attachment(this.client, stream, this.handlers, this.work, this.logger);
    return this.attachment;
  }

  private async recover(error: BrokerError | undefined, pause: number): Promise<void> {
    const why = error?.message ?? "the broker ended the stream";
    this.logger.warn(`socketbroker: not attached: ${why}; again in ${Math.round(pause)} ms`);
    if (error?.reason === "EVENTS_LOST") {
      this.work.hook("the handler of lost events", async () => { await this.handlers.eventsLost?.(); });
    }
    // Ends early for a drain.
    await sleep(pause, undefined, {signal: this.draining.signal}).catch(() => undefined);
  }

  private attachStart(): Input<v1.AttachStart> {
    const {handlers, options} = this;
    const methods = handlers.methods.all;
    if (handlers.raw && methods.length > 0) {
      throw new Error("a service has onMessage, for framing RAW, or on, for JSONRPC, but not both");
    }
    if (!handlers.takesMessages && !handlers.takesEvents && !handlers.handshake) {
      throw new Error("a service without handlers has nothing to do");
    }
    const start: Input<v1.AttachStart> = {namespace: options.namespace, handshakes: handlers.handshake !== undefined};
    if (handlers.takesEvents) {
      Object.assign(start, options.eventsFilter === undefined ? {matchAll: true} : {filter: options.eventsFilter});
    }
    if (handlers.takesMessages) {
      start.messages = {
        methods, filter: options.filter, sticky: STICKY[options.sticky ?? "none"], idempotent: options.idempotent,
      };
    }
    return start;
  }
}

/**
 * To try again would end the same way. Once it has started, the start was right:
 * an INVALID_ARGUMENT is then about something that a handler sent.
 */
function isFinal(error: BrokerError, started: boolean): boolean {
  if (error.code === status.INVALID_ARGUMENT) return !started;
  return error.code === status.UNAUTHENTICATED || error.code === status.PERMISSION_DENIED;
}

function inRange(name: string, value: number, most: number): number {
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  throw new RangeError(`${name} is ${value}; 1 to ${most} are allowed`);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), {once: true});
  });
}
