"""Authenticator: a ConnectAuthenticator on a port of its own that answers as the test says."""

import concurrent.futures
import threading

import grpc

from harness.broker import identity
from socketbroker.v1 import connect_authenticator_pb2 as pb
from socketbroker.v1 import connect_authenticator_pb2_grpc


def admit(*args, **kwargs):
    return pb.AuthenticateResponse(identity=identity(*args, **kwargs))


def refuse(http_status, reason=""):
    return pb.AuthenticateResponse(refusal=pb.HandshakeRefusal(http_status=http_status, reason=reason))


class Authenticator(connect_authenticator_pb2_grpc.ConnectAuthenticatorServicer):
    """`answer(handshake)` returns the response or raises; it may wait."""

    def __init__(self, answer=lambda handshake: admit("a1"), port=0):
        self.answer = answer
        self.handshakes = []
        self.authorizations = []
        self._news = threading.Condition()
        self._server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        connect_authenticator_pb2_grpc.add_ConnectAuthenticatorServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.target = f"127.0.0.1:{self.port}"
        self._server.start()

    def Authenticate(self, request, context):
        with self._news:
            self.handshakes.append(request.handshake)
            self.authorizations.append(dict(context.invocation_metadata()).get("authorization"))
            self._news.notify_all()
        return self.answer(request.handshake)

    def wait_for_calls(self, count, timeout=15):
        with self._news:
            assert self._news.wait_for(lambda: len(self.handshakes) >= count, timeout)

    def stop(self):
        self._server.stop(None).wait()
