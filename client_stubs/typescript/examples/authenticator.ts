// An application that the broker asks about handshakes: the way CALLOUT.
//
//   node authenticator.js sessions.json [PORT]
//
// A client is known by its cookie `session`, and sessions.json says whose it is:
//
//   {"the cookie's value": {"account": "alice", "plan": "pro"}}
//
// A real one asks its database instead, in the call and not from a cache. With
// $CALLOUT_KEY it serves only who shows this key.

import {createHash, timingSafeEqual} from "node:crypto";
import {readFile} from "node:fs/promises";
import {Metadata, Server, ServerCredentials, status} from "@grpc/grpc-js";
import {v1} from "@socket-broker/client";

const [file, port = "50061"] = process.argv.slice(2);
const key = process.env.CALLOUT_KEY;

const hashed = (text: string) => createHash("sha256").update(text).digest();

function isBroker(metadata: Metadata): boolean {
  const [shown = ""] = metadata.get("authorization").map(String);
  return key === undefined || timingSafeEqual(hashed(shown), hashed(`Bearer ${key}`));
}

function refuse(httpStatus: number, reason: string): v1.AuthenticateResponse {
  return v1.AuthenticateResponse.create({refusal: {httpStatus, reason}});
}

async function judge({cookies}: v1.Handshake): Promise<v1.AuthenticateResponse> {
  const sessions = cookies.filter(({name}) => name === "session");
  // Two of them: somebody may have planted one.
  if (sessions.length !== 1) return refuse(401, "log in first");
  const [{value}] = sessions;
  const known = new Map(Object.entries<{account: string; plan?: string}>(JSON.parse(await readFile(file, "utf8"))));
  const session = known.get(value);
  if (!session) return refuse(401, "log in first");
  return v1.AuthenticateResponse.create({
    identity: {
      accountId: session.account,
      // The hash, so that the broker never knows the session itself.
      tokenHash: hashed(value).toString("hex"),
      labels: {plan: session.plan},
    },
  });
}

const authenticator: v1.ConnectAuthenticatorServer = {
  authenticate({request, metadata}, answer) {
    if (!isBroker(metadata)) {
      answer({code: status.UNAUTHENTICATED, details: "this is for the broker"});
      return;
    }
    judge(request.handshake!).then((response) => answer(null, response), (error) => {
      console.error(error);
      answer({code: status.INTERNAL, details: "the sessions cannot be read"});
    });
  },
};

const server = new Server();
server.addService(v1.ConnectAuthenticatorService, authenticator);
server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
  if (error) throw error;
  console.log(`listening on 127.0.0.1:${bound}`);
});
