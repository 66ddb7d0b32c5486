import {Logger} from "./logger";
import {AttachStream} from "./streams";

/** How much of each kind. @internal */
export interface Amounts {
  handshakes: number;
  events: number;
  messages: number;
}

type Task = (controller: AbortController) => Promise<void>;

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
  private lastEvent: Promise<void> = Promise.resolve();

  constructor(private readonly most: Amounts, private readonly logger: Logger) {}

  /** The credit that a new stream starts with. */
  get credit(): Amounts {
    return {
      handshakes: this.most.handshakes - this.running.handshakes,
      events: this.most.events - this.running.events,
      messages: this.most.messages - this.running.messages,
    };
  }

  /** Starts a task at once, as all of these; never rejects. `what` is for the log. */
  message(what: string, task: Task): Promise<void> {
    return this.run(what, task, "messages");
  }

  handshake(what: string, task: Task): Promise<void> {
    return this.run(what, task, "handshakes");
  }

  /** Behind the events before it. */
  event(what: string, task: Task): Promise<void> {
    const before = this.lastEvent;
    this.lastEvent = this.run(what, async (controller) => {
      await before;
      await task(controller);
    }, "events");
    return this.lastEvent;
  }

  /** Takes no credit. */
  aside(what: string, task: Task): Promise<void> {
    return this.run(what, task);
  }

  /** When nothing is under way. */
  idle(): Promise<void> {
    if (this.controllers.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.idlers.push(resolve));
  }

  abort(reason: Error): void {
    for (const controller of this.controllers) controller.abort(reason);
  }

  private async run(what: string, task: Task, kind?: keyof Amounts): Promise<void> {
    const controller = new AbortController();
    this.controllers.add(controller);
    if (kind) this.running[kind] += 1;
    try {
      await task(controller);
    } catch (error) {
      // What was told to stop may say so.
      if (!controller.signal.aborted) this.logger.error(`socketbroker: ${what} failed`, error);
    }
    this.controllers.delete(controller);
    if (kind) {
      this.running[kind] -= 1;
      void this.stream?.credit({[kind]: 1});
    }
    if (this.controllers.size === 0) for (const resolve of this.idlers.splice(0)) resolve();
  }
}
