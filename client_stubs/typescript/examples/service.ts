// A service of a shop: it judges clients as they connect, answers their requests,
// and hears when they leave.
//
//   node service.js sessions.json [BROKER]
//
// A client is known by its cookie `session`, and sessions.json says whose it is:
//
//   {"the cookie's value": {"account": "alice", "plan": "pro"}}
//
// A real one asks its database instead, in the handler and not from a cache. The
// clients' endpoint has the way ATTACH.

import {createHash} from "node:crypto";
import {readFile} from "node:fs/promises";
import {Client, JsonRpcError, refuse, Service} from "@socket-broker/client";

const [file, target = "127.0.0.1:50051"] = process.argv.slice(2);
const stock = new Map([["tea", 3], ["coffee", 1]]);

const client = new Client(target, {apiKey: process.env.SOCKET_BROKER_API_KEY});
const service = new Service(client, {sticky: "account"});

service.onHandshake(async ({cookies}) => {
  const sessions = cookies.filter(({name}) => name === "session");
  // Two of them: somebody may have planted one.
  if (sessions.length !== 1) return refuse("log in first");
  const [{value}] = sessions;
  const known = new Map(Object.entries<{account: string; plan?: string}>(JSON.parse(await readFile(file, "utf8"))));
  const session = known.get(value);
  if (!session) return refuse("log in first");
  return {
    accountId: session.account,
    // The hash, so that the broker never knows the session itself.
    tokenHash: createHash("sha256").update(value).digest("hex"),
    labels: {plan: session.plan},
  };
});

service.on("orders.create", async (params: {sku: string}, {identity, notify}) => {
  const left = stock.get(params?.sku) ?? 0;
  if (left === 0) throw new JsonRpcError(1, "Out of stock", {sku: params?.sku});
  stock.set(params.sku, left - 1);
  await notify("orders.progress", {sku: params.sku, percent: 50});
  return {account: identity.accountId, sku: params.sku};
});

service.on("session.close", async (_params, {identity}) => {
  const {closed} = await client.closeSocketsForSession({tokenHash: identity.tokenHash});
  return {closed: Number(closed)};
});

service.onClosed(({connection, cause, code}) => {
  console.log(`${connection?.identity?.accountId ?? "a stranger"} left: ${cause} ${code}`);
});

service.onStarted(() => console.log("attached"));

async function main() {
  // The first lets the handlers end, within 10 s; the second does not wait.
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => service.drain(10_000));
  await service.run();
  client.close();
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
