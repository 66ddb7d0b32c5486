import {status} from "@grpc/grpc-js";
import {Logger} from "./logger";
import {AttachStream} from "./streams";

/** How much of each kind. @internal */
export interface Amounts {
  handshakes: number;
  events: number;
  messages: number;
}

/** The lane of events; no connection has this id. */
const EVENTS = "events";

type Task = (signal: AbortSignal) => Promise<void>;

/**
 * What the handlers of a service have under way, over all its streams: never
 * more than `most`. As each ends, its credit goes back to the broker. @internal
 */
export class Work {
  /** The stream that credit goes to. */
  stream?: AttachStream;
  private readonly running: Amounts = {handshakes: 0, events: 0, messages: 0};
  private readonly controllers = new Set<AbortController>();
  private readonly idlers: Array<() => void> = [];
  /** The last of each. */
  private readonly lanes = new Map<string, Promise<void>>();

  constructor(private readonly most: Amounts, private readonly logger: Logger) {}

  /** The credit that a new stream starts with. */
  get credit(): Amounts {
    return {
      handshakes: this.most.handshakes - this.running.handshakes,
      events: this.most.events - this.running.events,
      messages: this.most.messages - this.running.messages,
    };
  }

  /**
   * Starts a task at once or, when it has a lane, behind those that are in it;
   * one that is aborted before it begins does not. `what` is for the log.
   */
  message(what: string, controller: AbortController, task: Task, lane?: string): void {
    void this.run(what, lane === undefined ? task : this.behind(lane, task), "messages", controller);
  }

  handshake(what: string, controller: AbortController, task: Task): void {
    void this.run(what, task, "handshakes", controller);
  }

  /** Behind the events before it. */
  event(what: string, task: Task): void {
    void this.run(what, this.behind(EVENTS, task), "events");
  }

  /** In the order of the events, and takes no credit. */
  hook(what: string, task: Task): void {
    void this.run(what, this.behind(EVENTS, task));
  }

  /** When nothing is under way. */
  idle(): Promise<void> {
    if (this.controllers.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.idlers.push(resolve));
  }

  abort(reason: Error): void {
    for (const controller of this.controllers) controller.abort(reason);
  }

  private behind(lane: string, task: Task): Task {
    const before = this.lanes.get(lane);
    let done!: () => void;
    const last = new Promise<void>((resolve) => { done = resolve; });
    this.lanes.set(lane, last);
    return async (signal) => {
      try {
        if (before) await before;
        if (!signal.aborted) await task(signal);
      } finally {
        if (this.lanes.get(lane) === last) this.lanes.delete(lane);
        done();
      }
    };
  }

  /** Never rejects. */
  private async run(
    what: string, task: Task, kind?: keyof Amounts, controller = new AbortController(),
  ): Promise<void> {
    this.controllers.add(controller);
    if (kind) this.running[kind] += 1;
    try {
      await task(controller.signal);
    } catch (error) {
      if (!isStop(error, controller.signal)) this.logger.error(`socketbroker: ${what} failed`, error);
    }
    this.controllers.delete(controller);
    if (kind) {
      this.running[kind] -= 1;
      void this.stream?.credit({[kind]: 1});
    }
    if (this.controllers.size === 0) for (const resolve of this.idlers.splice(0)) resolve();
  }
}

/** Whether it says no more than that it was told to stop. */
function isStop(error: any, signal: AbortSignal): boolean {
  return signal.aborted
    && (error === signal.reason || error?.name === "AbortError" || error?.code === status.CANCELLED);
}
