// One stream of a Service: hands what the broker tells to the handlers, and what
// they answer to the broker.

import {status} from "@grpc/grpc-js";
import {Client} from "./client";
import {Context, HandshakeContext, MethodContext, RawContext, Refusal} from "./context";
import {BrokerError} from "./error";
import {Input, milliseconds} from "./input";
import {errorReply, fromJson, internalError, JsonRpcError, methodNotFound, RESULT_LEVELS, toJson} from "./json_rpc";
import {Logger} from "./logger";
import {Patterns} from "./patterns";
import {AttachStream} from "./streams";
import * as v1 from "./v1";
import {Work} from "./work";

const REVOKED = "CREDENTIAL_REVOKED";
/** What a binding fails with in the course of events. */
const EXPECTED = [REVOKED, "ALREADY_BOUND"];

export type MethodHandler = (params: any, context: MethodContext) => unknown;
/** See `Service.onMessage`. */
export type RawHandler = (data: string | Uint8Array, context: RawContext) => unknown;
/** See `Service.onHandshake`. */
export type HandshakeHandler = (handshake: v1.Handshake, context: HandshakeContext) =>
  Input<v1.Identity> | Refusal | Promise<Input<v1.Identity> | Refusal>;

/** What a service has handlers for. @internal */
export class Handlers {
  readonly methods = new Patterns<MethodHandler>();
  raw?: RawHandler;
  handshake?: HandshakeHandler;
  admitted?: (connection: v1.Connection) => unknown;
  updated?: (connection: v1.Connection) => unknown;
  closed?: (event: v1.ConnectionClosed) => unknown;
  started?: (started: v1.AttachStarted) => unknown;
  eventsLost?: () => unknown;

  get takesMessages(): boolean {
    return this.raw !== undefined || this.methods.all.length > 0;
  }

  get takesEvents(): boolean {
    return (this.admitted ?? this.updated ?? this.closed) !== undefined;
  }
}

/** @internal */
export class Attachment {
  /** Whether the broker took it. */
  started = false;
  /** The messages that are being handled. */
  private readonly open = new Map<bigint, AbortController>();
  /** And the offers. */
  private readonly offers = new Set<AbortController>();

  constructor(
    private readonly client: Client, private readonly stream: AttachStream, private readonly handlers: Handlers,
    private readonly work: Work, private readonly logger: Logger,
  ) {}

  /** Until the stream ends; then why, undefined when the broker ended it with OK, or `cut` did. */
  async run(): Promise<BrokerError | undefined> {
    try {
      for await (const told of this.stream) this.hear(told);
      return undefined;
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      return error;
    }
  }

  /** Lets the broker end the stream when all is replied to. */
  drain(): void {
    if (this.started) void this.stream.drain();
    else this.cut(); // It may wait for a broker for long.
  }

  cut(): void {
    this.stream.cancel();
  }

  /** Tells the handlers that what they say goes nowhere. */
  abandon(): void {
    for (const controller of [...this.open.values(), ...this.offers]) {
      controller.abort(over("the stream to the broker has ended"));
    }
  }

  private hear(told: v1.AttachResponse): void {
    if (told.started) this.start(told.started);
    else if (told.clientMessage) this.takeMessage(told.clientMessage);
    else if (told.handshakeOffer) this.takeOffer(told.handshakeOffer);
    else if (told.requestCancelled) this.cancel(told.requestCancelled);
    else if (told.connectionAdmitted) this.tell(this.handlers.admitted, told.connectionAdmitted.connection!);
    else if (told.connectionUpdated) this.tell(this.handlers.updated, told.connectionUpdated.connection!);
    else if (told.connectionClosed) this.tell(this.handlers.closed, told.connectionClosed);
  }

  private start(started: v1.AttachStarted): void {
    this.started = true;
    this.logger.info("socketbroker: attached");
    this.work.hook("the handler of started", async () => { await this.handlers.started?.(started); });
  }

  private tell<Event>(handler: ((event: Event) => unknown) | undefined, event: Event): void {
    this.work.event("a handler of events", async () => { await handler?.(event); });
  }

  private cancel({messageId, cause}: v1.RequestCancelled): void {
    this.open.get(messageId)?.abort(over(cause));
  }

  private takeOffer(offer: v1.HandshakeOffer): void {
    const controller = new AbortController();
    this.offers.add(controller);
    this.work.handshake("the handler of handshakes", controller, async (signal) => {
      const timeout = offer.timeout && setTimeout(
        () => controller.abort(over("the offer goes to another service")), milliseconds(offer.timeout));
      try {
        // One that fails leaves the offer unanswered: it goes to another service.
        const answer = await this.handlers.handshake!(offer.handshake!, {connectionId: offer.connectionId, signal});
        if (answer instanceof Refusal) await this.stream.refuse(offer.offerId, answer.reason);
        else await this.admit(offer, answer);
      } finally {
        clearTimeout(timeout);
        this.offers.delete(controller);
      }
    });
  }

  private async admit({connectionId, offerId}: v1.HandshakeOffer, identity: Input<v1.Identity>): Promise<void> {
    if (typeof identity?.accountId !== "string") {
      throw new TypeError("a handler of handshakes returns an Identity with an accountId, or refuse()");
    }
    try {
      // Without an epoch: then it is that of the handshake's arrival.
      await this.client.addConnection({connectionId, identity});
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error;
      if (error.code !== status.NOT_FOUND && !EXPECTED.includes(error.reason)) throw error;
      this.logger.info(`socketbroker: connection ${connectionId} is not bound: ${error.message}`);
      // It would be offered again, and end the same way.
      if (error.reason === REVOKED) await this.stream.refuse(offerId);
    }
  }

  private takeMessage(message: v1.ClientMessage): void {
    const {messageId, request, notification} = message;
    const what = `the handler of ${(request ?? notification)?.method ?? "messages"}`;
    const controller = new AbortController();
    this.open.set(messageId, controller);
    this.work.message(what, controller, async (signal) => {
      try {
        await this.handle(message, signal);
      } finally {
        this.open.delete(messageId);
      }
    }, request || notification ? undefined : message.connectionId);
  }

  private async handle(message: v1.ClientMessage, signal: AbortSignal): Promise<void> {
    const {messageId, request, notification} = message;
    const context = new Context(this.stream, message, signal);
    const data = message.text ?? message.binary;
    if (request) await this.reply(messageId, signal, () => this.invoke(request, context));
    else if (notification) await this.invoke(notification, context).catch(dropJsonRpcError);
    // Neither: of a later version.
    else if (data !== undefined) await this.handlers.raw?.(data, context);
  }

  private async invoke(call: v1.JsonRpcCall, context: Context): Promise<unknown> {
    const handler = this.handlers.methods.find(call.method);
    if (!handler) throw methodNotFound();
    return handler(fromJson(call.paramsJson), context);
  }

  private async reply(messageId: bigint, signal: AbortSignal, invoke: () => Promise<unknown>): Promise<void> {
    let reply: Input<v1.Reply>;
    let fault: unknown;
    try {
      const result = await invoke();
      if (result instanceof JsonRpcError) throw result;
      reply = {resultJson: toJson(result, RESULT_LEVELS)};
    } catch (error) {
      [reply, fault] = failed(error);
    }
    // Not waited for: there are no more of them than the concurrency allows.
    if (!signal.aborted) void this.stream.reply({messageId, ...reply});
    if (fault !== undefined) throw fault;
  }
}

function dropJsonRpcError(error: unknown): void {
  if (!(error instanceof JsonRpcError)) throw error;
}

/** What the client hears of an error, and what the log does. */
function failed(error: unknown): [Input<v1.Reply>, unknown] {
  if (!(error instanceof JsonRpcError)) {
    return [errorReply(internalError()), error ?? new Error(`${error} was thrown`)];
  }
  try {
    return [errorReply(error), undefined];
  } catch (unwritable) {
    return [errorReply(internalError()), unwritable];
  }
}

function over(why: string): Error {
  return Object.assign(new Error(`no answer is needed any more: ${why}`), {name: "AbortError"});
}
