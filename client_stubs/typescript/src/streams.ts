// What the broker says on a stream, and what it is told.

import {ClientDuplexStream, ClientReadableStream, ServiceError} from "@grpc/grpc-js";
import {fromServiceError} from "./error";
import {Input} from "./input";
import {AttachCredit, AttachRequest, AttachResponse, ClientSend, Reply} from "./v1";

/**
 * What the broker says on a stream: iterate over it, once. It throws BrokerError
 * when the broker ends it with an error, and ends silently after `cancel`. A
 * loop that is left cancels it.
 */
export class Responses<T> implements AsyncIterableIterator<T> {
  private readonly iterator: AsyncGenerator<T, void, undefined>;
  private failure?: Error;
  private cancelled = false;

  /** @internal */
  constructor(private readonly call: ClientReadableStream<T> | ClientDuplexStream<never, T>) {
    // Kept, since it may come while nobody iterates; and one that nobody listens
    // to would end the process.
    call.on("error", (error: ServiceError) => { this.failure ??= fromServiceError(error); });
    this.iterator = this.read();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, void>> {
    return this.iterator.next();
  }

  return(): Promise<IteratorResult<T, void>> {
    this.cancel();
    return this.iterator.return();
  }

  /** Ends the stream; the broker takes part no more. Any number of times. */
  cancel(): void {
    this.cancelled = true;
    this.call.cancel();
  }

  /** @internal Ends the stream with an error of the caller's own. */
  fail(error: Error): void {
    this.failure ??= error;
    this.call.cancel();
  }

  private async *read(): AsyncGenerator<T, void, undefined> {
    try {
      for await (const response of this.call) yield response as T;
    } catch (error) {
      this.failure ??= error as Error;
    }
    if (this.failure && !this.cancelled) throw this.failure;
  }
}

/** Writes to a stream of requests, and tells when it takes more. @internal */
export class Writer<Request> {
  private ended = false;
  private waiting: Array<() => void> = [];
  private atEnd = async (): Promise<void> => undefined;

  constructor(private readonly call: ClientDuplexStream<Request, unknown>) {
    call.on("drain", () => this.goOn());
    call.on("status", () => {
      this.ended = true;
      this.goOn();
      // The stream has its own end to tell of.
      this.atEnd().catch(() => undefined);
    });
  }

  /** Whether the stream is over: what is written then goes nowhere. */
  get over(): boolean {
    return this.ended;
  }

  /** Writes at once, and resolves when there is room for more, or the stream is over. */
  write(request: Request): Promise<void> {
    if (this.ended || this.call.write(request)) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  whenOver(task: () => Promise<void>): void {
    this.atEnd = task;
  }

  end(): void {
    this.call.end();
  }

  private goOn(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

/**
 * A service's side of Attach: what the broker tells, and what it is told. What
 * is written goes out in its order; each promise resolves when there is room
 * for more. After the end of the stream it goes nowhere. `Service` does all of
 * this for you.
 */
export class AttachStream extends Responses<AttachResponse> {
  private readonly writer: Writer<AttachRequest>;

  /** @internal */
  constructor(call: ClientDuplexStream<AttachRequest, AttachResponse>) {
    super(call as ClientDuplexStream<never, AttachResponse>);
    this.writer = new Writer(call);
  }

  write(request: Input<AttachRequest>): Promise<void> {
    return this.writer.write(AttachRequest.fromPartial(request));
  }

  /** Lets the broker tell so much more. */
  credit(credit: Input<AttachCredit>): Promise<void> {
    return this.write({credit});
  }

  /** Refuses a client that was offered. To admit it: `Client.addConnection`. */
  refuse(offerId: bigint, reason = ""): Promise<void> {
    return this.write({refuseHandshake: {offerId, reason}});
  }

  /** Replies to a client's request. A result of null goes as `resultJson`. */
  reply(reply: Input<Reply>): Promise<void> {
    return this.write({reply});
  }

  /** Sends a message to one connection. */
  send(send: Input<ClientSend>): Promise<void> {
    return this.write({send});
  }

  /** Takes no more messages; the broker ends the stream when all are replied to. */
  drain(): Promise<void> {
    return this.write({drain: {}});
  }
}
