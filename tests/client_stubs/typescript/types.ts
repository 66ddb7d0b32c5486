// What the compiler must take, and what it must not: checked by package.test.js,
// never run.

import {status} from "@grpc/grpc-js";
import {
  AttachStream, BrokerError, Client, duration, fromPublishError, HandshakeHandler, JsonRpcError, RawHandler, refuse,
  Service, tlsFromFiles, v1,
} from "@socket-broker/client";

const client = new Client("127.0.0.1:50051", {credentials: tlsFromFiles({ca: "ca.pem"}), apiKey: "k", deadline: 1000});

export async function calls(signal: AbortSignal): Promise<void> {
  const {ticket, epoch, expireTime} = await client.createTicketVerified(
    {ttl: duration(5000), allowedOrigins: ["https://app.example"]}, async () => ({accountId: "a1", labels: {k: "v"}}));
  const kept: [string, bigint, Date | undefined] = [ticket, epoch, expireTime];
  await client.send({message: {notification: {method: "m", paramsStruct: {kept}}}}, {signal, deadline: 10});
  await client.listConnections({states: [v1.ConnectionState.PENDING, "CONNECTION_STATE_ADMITTED"]});
  await client.updateConnection({connectionId: "c", updateMask: ["labels"], expectedVersion: 1n});

  // @ts-expect-error: 64-bit numbers are bigints
  await client.createTicket({verifiedAtEpoch: 1});
  // @ts-expect-error: no such field
  await client.send({mesage: {}});
  // @ts-expect-error: no such state
  await client.listConnections({states: ["PENDING"]});
  // @ts-expect-error: the look-up fills it in
  await client.createTicketVerified({verifiedAtEpoch: 1n}, () => ({accountId: "a1"}));
  // @ts-expect-error: an identity, not its account
  await client.createTicketVerified({}, () => "a1");
}

export async function streams(): Promise<void> {
  for await (const {added, removed} of client.watchConnections({filter: "groups:g"})) {
    const ids: (string | undefined)[] = [added?.connectionId, removed?.connection?.connectionId];
    void ids;
  }
  for await (const {results} of client.publish([{items: [{send: {message: {text: "t"}}}]}])) {
    for (const {error} of results) if (error) throw fromPublishError(error);
  }
  for await (const {reply, failure} of client.requestFiltered({matchAll: true, method: "m"})) {
    if (failure === v1.RequestFilteredResponse_Failure.TIMEOUT) continue;
    const result: unknown = reply?.result;
    void result;
  }
  const stream: AttachStream = client.attach({handshakes: true, credit: {handshakes: 1}});
  await stream.credit({messages: 1});
  // @ts-expect-error: ids are bigints
  await stream.refuse(1);
}

export function service(): Service {
  return new Service(client, {namespace: "shop", sticky: "account"})
    .on("orders.create", async (params: {sku: string}, {identity, signal, notify}) => {
      if (params.sku === "") throw new JsonRpcError(-32602, "no sku", {signal: signal.aborted});
      await notify("progress", {account: identity.accountId});
      return {ok: true};
    })
    .on<number[]>("sum", (numbers, context) => context.isNotification || numbers.reduce((a, b) => a + b, 0))
    .onHandshake(({cookies}) => cookies.length > 0 ? {accountId: cookies[0].value} : refuse("log in first"))
    .onClosed(({connection, cause}) => cause === v1.ConnectionClosed_Cause.REVOKED && connection?.connectionId)
    .onAdmitted((connection) => {
      const {connectTime}: {connectTime?: Date} = connection;
      void connectTime;
    });
}

export const judge: HandshakeHandler = ({query}) => query === "" ? refuse() : {accountId: query};
export const answer: RawHandler = (data, {send}) => send(data);

export function raw(): Service {
  // @ts-expect-error: no such choice
  void new Service(client, {sticky: "session"});
  return new Service(client).onMessage((data, context) => {
    // @ts-expect-error: raw messages have no method
    void context.method;
    return context.send(typeof data === "string" ? data.trim() : data.subarray(1));
  });
}

export function reason(error: unknown): string {
  if (error instanceof BrokerError && error.code === status.NOT_FOUND) return error.reason || error.violations[0].field;
  return "";
}
