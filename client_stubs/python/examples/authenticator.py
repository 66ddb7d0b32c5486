"""An application that the broker asks about handshakes: the way CALLOUT.

    python authenticator.py sessions.json --port 50061 --key-file broker.key

A client is known by its cookie `session`, and sessions.json says whose it is:

    {"the cookie's value": {"account": "alice", "plan": "pro"}}

A real one asks its database instead, in the call and not from a cache.
"""

import argparse
import concurrent.futures
import hashlib
import hmac
import json
import pathlib

import grpc

from socketbroker.v1 import connect_authenticator_pb2 as pb
from socketbroker.v1 import connect_authenticator_pb2_grpc


def refuse(http_status, reason):
    return pb.AuthenticateResponse(refusal=pb.HandshakeRefusal(http_status=http_status, reason=reason))


class Authenticator(connect_authenticator_pb2_grpc.ConnectAuthenticatorServicer):
    def __init__(self, sessions, key):
        self._sessions = sessions
        self._expected = f"Bearer {key}" if key else None

    def Authenticate(self, request, context):
        self._check_caller(context)
        cookies = [cookie.value for cookie in request.handshake.cookies if cookie.name == "session"]
        # Two of them: somebody may have planted one.
        if len(cookies) != 1:
            return refuse(401, "log in first")
        session = json.loads(self._sessions.read_text()).get(cookies[0])
        if session is None:
            return refuse(401, "log in first")
        if session.get("suspended"):
            return refuse(403, "this account is suspended")
        response = pb.AuthenticateResponse()
        response.identity.account_id = session["account"]
        # The hash, so that the broker never knows the session itself.
        response.identity.token_hash = hashlib.sha256(cookies[0].encode()).hexdigest()
        if "plan" in session:
            response.identity.labels["plan"] = session["plan"]
        return response

    def _check_caller(self, context):
        if self._expected is None:
            return
        shown = dict(context.invocation_metadata()).get("authorization", "")
        if not hmac.compare_digest(shown, self._expected):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "this is for the broker")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sessions", type=pathlib.Path)
    parser.add_argument("--port", type=int, default=50061)
    parser.add_argument("--key-file", type=pathlib.Path)
    arguments = parser.parse_args()
    key = arguments.key_file.read_text().strip() if arguments.key_file else None
    if key == "":  # Without one it would answer to anybody.
        parser.error(f"{arguments.key_file} is empty")
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    connect_authenticator_pb2_grpc.add_ConnectAuthenticatorServicer_to_server(
        Authenticator(arguments.sessions, key), server)
    port = server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
