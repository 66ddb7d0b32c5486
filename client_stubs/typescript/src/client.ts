// Client: the gRPC API of socket-broker, with what every caller would write again:
// a deadline on each call, waiting for the connection, and the epochs that make a
// binding safe against a revocation that comes meanwhile.

import {
  CallOptions as GrpcCallOptions, ChannelCredentials, ChannelOptions, Client as GrpcClient, ClientUnaryCall,
  credentials, Metadata, status,
} from "@grpc/grpc-js";
import {BrokerError, fromServiceError} from "./error";
import {Input} from "./input";
import {AttachStream, Responses, Writer} from "./streams";
import * as v1 from "./v1";

const DEFAULT_DEADLINE = 10_000;
/** The reasons with which a binding may succeed with the epoch that is now. */
const EPOCH_OUTDATED = ["CREDENTIAL_REVOKED", "EPOCH_TOO_OLD", "EPOCH_AHEAD"];
const CHANNEL: ChannelOptions = {
  // A broker that is back is found soon: grpc-js alone waits up to 2 minutes.
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1000,
  // A stream on which nothing is said must notice that its broker is gone.
  "grpc.keepalive_time_ms": 30_000,
  "grpc.keepalive_timeout_ms": 10_000,
  // The answer of Publish can have more than the 4 MiB of grpc-js. The broker bounds
  // what it says.
  "grpc.max_receive_message_length": -1,
};
const RPC = v1.SocketBrokerService;

export interface ClientOptions {
  /** Milliseconds that a call may take, the wait for the connection included. Default: 10,000. A stream has none. */
  deadline?: number;
  /**
   * A call waits for the connection until its deadline, and fails then with
   * DEADLINE_EXCEEDED; else it fails with UNAVAILABLE as soon as an attempt to
   * connect has failed. Default: true.
   */
  waitForReady?: boolean;
  /**
   * How to connect, such as `tlsFromFiles()`. Default: in plain text, which is
   * for the loopback interface and Unix-domain sockets.
   */
  credentials?: ChannelCredentials;
  /** Printable ASCII. Sent with every call; without TLS in plain text. */
  apiKey?: string;
  /** Called for every call: what to add to its metadata. */
  metadata?: () => Iterable<readonly [string, string]>;
  /** Options of grpc-js's channel, which go before the client's own. */
  channel?: ChannelOptions;
}

/** What one call does differently. */
export interface CallOptions {
  /** Milliseconds, instead of ClientOptions.deadline. For a stream: ends the whole of it. */
  deadline?: number;
  /** Instead of ClientOptions.waitForReady. */
  waitForReady?: boolean;
  /** Ends the call with CANCELLED. */
  signal?: AbortSignal;
}

/**
 * Looks up whom the credential belongs to, or throws, which ends the call and
 * binds nothing. It runs once or twice, and must not answer from a cache or from
 * a replica that lags behind.
 */
export type Verify = () => Input<v1.Identity> | Promise<Input<v1.Identity>>;
/** A CreateTicketRequest without what `createTicketVerified` fills in. */
export type TicketFor = Omit<Input<v1.CreateTicketRequest>, "identity" | "verifiedAtEpoch">;
/** An AddConnectionRequest without what `addConnectionVerified` fills in. */
export type ConnectionFor = Omit<Input<v1.AddConnectionRequest>, "identity" | "verifiedAtEpoch">;

interface Codec<T> {
  fromPartial(object: any): T;
}

interface Method<Request, Response> {
  path: string;
  requestSerialize(value: Request): Buffer;
  responseDeserialize(value: Buffer): Response;
}

/**
 * One client serves a whole program. Every method is one RPC, takes its request
 * and returns its response, and throws BrokerError. What each does is said in
 * socket_broker.proto.
 */
export class Client {
  private readonly grpc: GrpcClient;
  private epoch = 0n;
  private closed = false;

  /**
   * Does not connect yet. Throws what is wrong with the target or the options.
   * @param target what gRPC takes: "127.0.0.1:50051", "dns:///broker:50051", "unix:/run/socket-broker.sock".
   */
  constructor(target: string, private readonly options: ClientOptions = {}) {
    // Else each call would fail with an error that has the key in it.
    if (/[^ -~]/.test(options.apiKey ?? "")) {
      throw new RangeError("apiKey has a character that is not printable ASCII, such as the end of a line");
    }
    this.grpc = new GrpcClient(target, options.credentials ?? credentials.createInsecure(),
      {...CHANNEL, ...options.channel});
  }

  /** Closes the connection when the calls under way are over; further ones fail with CANCELLED. */
  close(): void {
    this.closed = true;
    this.grpc.close();
  }

  /**
   * The epoch of the newest answer that had one, 0n when there was none: fit as a
   * `verifiedAtEpoch` for a credential that is looked up from now on.
   */
  get newestEpoch(): bigint {
    return this.epoch;
  }

  /**
   * CreateTicket for a credential that `verify` looks up. The epoch is taken
   * before `verify` is called, so that a revocation that comes after the look-up
   * refuses the binding. When one has (CREDENTIAL_REVOKED), or the epoch is too
   * old for the broker to judge (EPOCH_TOO_OLD) or another broker's that was here
   * before (EPOCH_AHEAD), the epoch is read anew, `verify` called again, and the
   * call made once more. A deadline is for each call by itself.
   */
  createTicketVerified(request: TicketFor, verify: Verify, options?: CallOptions): Promise<v1.CreateTicketResponse> {
    return this.verified((added) => this.createTicket({...request, ...added}, options), verify, options);
  }

  /** AddConnection under the rule of `createTicketVerified`. */
  addConnectionVerified(
    request: ConnectionFor, verify: Verify, options?: CallOptions,
  ): Promise<v1.AddConnectionResponse> {
    return this.verified((added) => this.addConnection({...request, ...added}, options), verify, options);
  }

  addConnection(request: Input<v1.AddConnectionRequest>, options?: CallOptions): Promise<v1.AddConnectionResponse> {
    return this.call(RPC.addConnection, v1.AddConnectionRequest, request, options);
  }

  admitConnection(
    request: Input<v1.AdmitConnectionRequest>, options?: CallOptions,
  ): Promise<v1.AdmitConnectionResponse> {
    return this.call(RPC.admitConnection, v1.AdmitConnectionRequest, request, options);
  }

  updateConnection(
    request: Input<v1.UpdateConnectionRequest>, options?: CallOptions,
  ): Promise<v1.UpdateConnectionResponse> {
    return this.call(RPC.updateConnection, v1.UpdateConnectionRequest, request, options);
  }

  updateConnectionsFiltered(
    request: Input<v1.UpdateConnectionsFilteredRequest>, options?: CallOptions,
  ): Promise<v1.UpdateConnectionsFilteredResponse> {
    return this.call(RPC.updateConnectionsFiltered, v1.UpdateConnectionsFilteredRequest, request, options);
  }

  removeConnection(
    request: Input<v1.RemoveConnectionRequest>, options?: CallOptions,
  ): Promise<v1.RemoveConnectionResponse> {
    return this.call(RPC.removeConnection, v1.RemoveConnectionRequest, request, options);
  }

  createTicket(request: Input<v1.CreateTicketRequest>, options?: CallOptions): Promise<v1.CreateTicketResponse> {
    return this.call(RPC.createTicket, v1.CreateTicketRequest, request, options);
  }

  closeSocketsForSession(
    request: Input<v1.CloseSocketsForSessionRequest>, options?: CallOptions,
  ): Promise<v1.CloseSocketsForSessionResponse> {
    return this.call(RPC.closeSocketsForSession, v1.CloseSocketsForSessionRequest, request, options);
  }

  closeSocketsForAccount(
    request: Input<v1.CloseSocketsForAccountRequest>, options?: CallOptions,
  ): Promise<v1.CloseSocketsForAccountResponse> {
    return this.call(RPC.closeSocketsForAccount, v1.CloseSocketsForAccountRequest, request, options);
  }

  closeSocketsForToken(
    request: Input<v1.CloseSocketsForTokenRequest>, options?: CallOptions,
  ): Promise<v1.CloseSocketsForTokenResponse> {
    return this.call(RPC.closeSocketsForToken, v1.CloseSocketsForTokenRequest, request, options);
  }

  closeSocketsFiltered(
    request: Input<v1.CloseSocketsFilteredRequest>, options?: CallOptions,
  ): Promise<v1.CloseSocketsFilteredResponse> {
    return this.call(RPC.closeSocketsFiltered, v1.CloseSocketsFilteredRequest, request, options);
  }

  listRevocations(
    request: Input<v1.ListRevocationsRequest> = {}, options?: CallOptions,
  ): Promise<v1.ListRevocationsResponse> {
    return this.call(RPC.listRevocations, v1.ListRevocationsRequest, request, options);
  }

  liftRevocation(request: Input<v1.LiftRevocationRequest>, options?: CallOptions): Promise<v1.LiftRevocationResponse> {
    return this.call(RPC.liftRevocation, v1.LiftRevocationRequest, request, options);
  }

  send(request: Input<v1.SendRequest>, options?: CallOptions): Promise<v1.SendResponse> {
    return this.call(RPC.send, v1.SendRequest, request, options);
  }

  sendToConnection(
    request: Input<v1.SendToConnectionRequest>, options?: CallOptions,
  ): Promise<v1.SendToConnectionResponse> {
    return this.call(RPC.sendToConnection, v1.SendToConnectionRequest, request, options);
  }

  sendToAccount(request: Input<v1.SendToAccountRequest>, options?: CallOptions): Promise<v1.SendToAccountResponse> {
    return this.call(RPC.sendToAccount, v1.SendToAccountRequest, request, options);
  }

  broadcastFiltered(
    request: Input<v1.BroadcastFilteredRequest>, options?: CallOptions,
  ): Promise<v1.BroadcastFilteredResponse> {
    return this.call(RPC.broadcastFiltered, v1.BroadcastFilteredRequest, request, options);
  }

  /**
   * Does what the requests say, and yields their responses, in order. They are
   * taken as fast as the broker does them. An error that `requests` throws ends
   * the stream, and is thrown from it. An item's error: see `fromPublishError`.
   */
  publish(
    requests: AsyncIterable<Input<v1.PublishRequest>> | Iterable<Input<v1.PublishRequest>>, options?: CallOptions,
  ): Responses<v1.PublishResponse> {
    const call = this.grpc.makeBidiStreamRequest(RPC.publish.path, RPC.publish.requestSerialize,
      RPC.publish.responseDeserialize, this.metadata(options), stream(options));
    const responses = new Responses(cancelledBy(options, call));
    feed(requests, new Writer(call)).catch((error) => responses.fail(error));
    return responses;
  }

  /**
   * Sends a JSON-RPC request to one client and waits for its reply. The client
   * has `timeout` of the request for it; the default deadline of the call is
   * that and 5 s.
   */
  requestConnection(
    request: Input<v1.RequestConnectionRequest>, options?: CallOptions,
  ): Promise<v1.RequestConnectionResponse> {
    const deadline = options?.deadline ?? replyTime(request.timeout);
    return this.call(RPC.requestConnection, v1.RequestConnectionRequest, request, {...options, deadline});
  }

  /** Sends a JSON-RPC request to many, and yields what comes of each. */
  requestFiltered(
    request: Input<v1.RequestFilteredRequest>, options?: CallOptions,
  ): Responses<v1.RequestFilteredResponse> {
    return this.watch(RPC.requestFiltered, v1.RequestFilteredRequest, request, options);
  }

  getConnection(request: Input<v1.GetConnectionRequest>, options?: CallOptions): Promise<v1.GetConnectionResponse> {
    return this.call(RPC.getConnection, v1.GetConnectionRequest, request, options);
  }

  listConnections(
    request: Input<v1.ListConnectionsRequest> = {}, options?: CallOptions,
  ): Promise<v1.ListConnectionsResponse> {
    return this.call(RPC.listConnections, v1.ListConnectionsRequest, request, options);
  }

  countConnections(
    request: Input<v1.CountConnectionsRequest> = {}, options?: CallOptions,
  ): Promise<v1.CountConnectionsResponse> {
    return this.call(RPC.countConnections, v1.CountConnectionsRequest, request, options);
  }

  /** Yields a snapshot, its end, and then every change. */
  watchConnections(
    request: Input<v1.WatchConnectionsRequest> = {}, options?: CallOptions,
  ): Responses<v1.WatchConnectionsResponse> {
    return this.watch(RPC.watchConnections, v1.WatchConnectionsRequest, request, options);
  }

  getBrokerInfo(
    request: Input<v1.GetBrokerInfoRequest> = {}, options?: CallOptions,
  ): Promise<v1.GetBrokerInfoResponse> {
    return this.call(RPC.getBrokerInfo, v1.GetBrokerInfoRequest, request, options);
  }

  /** Attaches a service by hand. `Service` does it with handlers, and again when the stream is lost. */
  attach(start: Input<v1.AttachStart>, options?: CallOptions): AttachStream {
    const call = this.grpc.makeBidiStreamRequest(RPC.attach.path, RPC.attach.requestSerialize,
      RPC.attach.responseDeserialize, this.metadata(options), stream(options));
    const result = new AttachStream(cancelledBy(options, call));
    void result.write({start});
    return result;
  }

  private metadata(options?: CallOptions): Metadata {
    if (this.closed) throw new BrokerError(status.CANCELLED, "the client is closed");
    const result = new Metadata({waitForReady: options?.waitForReady ?? this.options.waitForReady ?? true});
    if (this.options.apiKey !== undefined) result.set("authorization", `Bearer ${this.options.apiKey}`);
    for (const [key, value] of this.options.metadata?.() ?? []) result.add(key, value);
    return result;
  }

  private call<Request, Response extends object>(
    method: Method<Request, Response>, codec: Codec<Request>, request: Input<Request>, options: CallOptions = {},
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const deadline = options.deadline ?? this.options.deadline ?? DEFAULT_DEADLINE;
      const call = this.grpc.makeUnaryRequest(method.path, method.requestSerialize, method.responseDeserialize,
        codec.fromPartial(request), this.metadata(options), {deadline: Date.now() + deadline}, (error, response) => {
          if (error) return reject(fromServiceError(error));
          this.remember(response!);
          resolve(response!);
        });
      cancelledBy(options, call);
    });
  }

  private watch<Request, Response>(
    method: Method<Request, Response>, codec: Codec<Request>, request: Input<Request>, options?: CallOptions,
  ): Responses<Response> {
    const call = this.grpc.makeServerStreamRequest(method.path, method.requestSerialize, method.responseDeserialize,
      codec.fromPartial(request), this.metadata(options), stream(options));
    return new Responses(cancelledBy(options, call));
  }

  private remember(response: {epoch?: bigint}): void {
    // Also a lower one, which is safe: the broker may be another one.
    if (response.epoch) this.epoch = response.epoch;
  }

  private async verified<Response>(
    bind: (added: {identity: Input<v1.Identity>; verifiedAtEpoch: bigint}) => Promise<Response>,
    verify: Verify, options?: CallOptions,
  ): Promise<Response> {
    const readEpoch = async () => (await this.getBrokerInfo({}, options)).epoch;
    // Before the look-up: a revocation that comes later is then newer.
    let verifiedAtEpoch = this.epoch || await readEpoch();
    for (let last = false; ; last = true) {
      const identity = await verify();
      if (typeof identity?.accountId !== "string") {
        throw new TypeError("verify must return an Identity with an accountId, or throw");
      }
      try {
        return await bind({identity, verifiedAtEpoch});
      } catch (error) {
        const outdated = error instanceof BrokerError && EPOCH_OUTDATED.includes(error.reason);
        if (last || !outdated) throw error;
      }
      verifiedAtEpoch = await readEpoch();
    }
  }
}

function stream(options?: CallOptions): GrpcCallOptions {
  return options?.deadline === undefined ? {} : {deadline: Date.now() + options.deadline};
}

/** Cancels `call` when the signal says so, and lets go of the signal when the call is over. */
function cancelledBy<Call extends ClientUnaryCall>(options: CallOptions | undefined, call: Call): Call {
  const signal = options?.signal;
  if (!signal) return call;
  const cancel = () => call.cancel();
  if (signal.aborted) cancel();
  else {
    signal.addEventListener("abort", cancel, {once: true});
    call.on("status", () => signal.removeEventListener("abort", cancel));
  }
  return call;
}

async function feed(
  requests: AsyncIterable<Input<v1.PublishRequest>> | Iterable<Input<v1.PublishRequest>>,
  writer: Writer<v1.PublishRequest>,
): Promise<void> {
  const source = Symbol.asyncIterator in requests ? requests[Symbol.asyncIterator]() : requests[Symbol.iterator]();
  // It may wait for a request that never comes.
  writer.whenOver(async () => { await source.return?.(); });
  for await (const request of {[Symbol.asyncIterator]: () => source as AsyncIterator<Input<v1.PublishRequest>>}) {
    await writer.write(v1.PublishRequest.fromPartial(request));
    if (writer.over) return;
  }
  writer.end();
}

function replyTime(timeout?: Input<v1.Duration>): number {
  const allowed = timeout ? Number(timeout.seconds ?? 0n) * 1000 + (timeout.nanos ?? 0) / 1e6 : 10_000;
  return allowed + 5000;
}
