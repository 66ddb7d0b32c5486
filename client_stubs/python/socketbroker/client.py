"""Client: the gRPC API of socket-broker, with what every caller would write again.

That is a deadline on each call, waiting for the connection, and the epochs that
make a binding safe against a revocation that comes meanwhile.
"""

import pathlib
import queue
import threading
from typing import Callable, Iterable, Iterator, Optional, Tuple

import grpc

from socketbroker import error as _error
from socketbroker.streams import AttachStream, ClientReplies, ConnectionWatch, Requests
from socketbroker.v1 import attach_pb2
from socketbroker.v1 import connection_pb2
from socketbroker.v1 import conversation_pb2
from socketbroker.v1 import socket_broker_pb2 as pb
from socketbroker.v1 import socket_broker_pb2_grpc

_DEFAULT_TIMEOUT = 10.0
_CHANNEL_OPTIONS = (
    # A broker that is back is found soon: gRPC alone waits up to 2 minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A stream on which nothing is said must notice that its broker is gone.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # The answer of Publish can have more than the 4 MiB that gRPC takes. The broker
    # bounds what it says.
    ("grpc.max_receive_message_length", -1),
)
# The reasons with which a binding may succeed with the epoch that is now.
_EPOCH_OUTDATED = ("CREDENTIAL_REVOKED", "EPOCH_TOO_OLD", "EPOCH_AHEAD")

Metadata = Callable[[], Iterable[Tuple[str, str]]]
Verify = Callable[[], connection_pb2.Identity]


def tls_from_files(
    ca: Optional[str] = None, certificate: Optional[str] = None, private_key: Optional[str] = None
) -> grpc.ChannelCredentials:
    """The credentials of a Client that connects with TLS.

    Args:
      ca: a PEM file with the authorities that the broker's certificate must come
        from. None: those that gRPC brings.
      certificate, private_key: PEM files that the caller proves itself with,
        where the broker asks for it (mTLS). Both or none.
    """
    if (certificate is None) != (private_key is None):
        raise ValueError("certificate and private_key go together")
    ca_pem, key_pem, certificate_pem = (
        None if file is None else pathlib.Path(file).read_bytes() for file in (ca, private_key, certificate)
    )
    return grpc.ssl_channel_credentials(ca_pem, key_pem, certificate_pem)


class Client:
    """One client serves a whole program: it is thread-safe.

    Every method is one RPC, takes its request and returns its response, and
    raises BrokerError. What each does is said in socket_broker.proto.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout: float = _DEFAULT_TIMEOUT,
        wait_for_ready: bool = True,
        credentials: Optional[grpc.ChannelCredentials] = None,
        api_key: Optional[str] = None,
        metadata: Optional[Metadata] = None,
    ):
        """Does not connect yet.

        Args:
          target: what gRPC takes: "127.0.0.1:50051", "dns:///broker:50051",
            "unix:/run/socket-broker.sock".
          timeout: seconds that a call may take, the wait for the connection
            included. A watch has none.
          wait_for_ready: a call waits for the connection until its timeout, and
            fails then with DEADLINE_EXCEEDED; else it fails with UNAVAILABLE as
            soon as an attempt to connect has failed.
          credentials: how to connect, such as `tls_from_files()`. None: in
            plain text, which is for the loopback interface and Unix-domain
            sockets.
          api_key: sent with every call; without TLS in plain text.
          metadata: called for every call: what to add to its metadata.
        """
        if credentials is None:
            self._channel = grpc.insecure_channel(target, _CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, _CHANNEL_OPTIONS)
        self._stub = socket_broker_pb2_grpc.SocketBrokerStub(self._channel)
        self._timeout = timeout
        self._wait_for_ready = wait_for_ready
        self._authorization = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        self._metadata = metadata
        self._mutex = threading.Lock()
        self._newest_epoch = 0

    def close(self) -> None:
        """Closes the connection; calls that are under way fail with CANCELLED."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def newest_epoch(self) -> int:
        """The epoch of the newest answer that had one, 0 when there was none.

        Fit as a `verified_at_epoch` for a credential that is looked up from now on.
        """
        with self._mutex:
            return self._newest_epoch

    def create_ticket_verified(
        self, request: pb.CreateTicketRequest, verify: Verify, *, timeout: Optional[float] = None
    ) -> pb.CreateTicketResponse:
        """CreateTicket for a credential that `verify` looks up.

        The epoch is taken before `verify` is called, so that a revocation that
        comes after the look-up refuses the binding. When one has
        (CREDENTIAL_REVOKED), or the epoch is too old for the broker to judge
        (EPOCH_TOO_OLD) or another broker's that was here before (EPOCH_AHEAD),
        the epoch is read anew, `verify` called again, and the call made once more.

        Args:
          request: its `identity` and `verified_at_epoch` are ignored.
          verify: returns the connection_pb2.Identity that the credential belongs
            to, or raises, which ends the call. It runs once or twice, and must
            not answer from a cache or from a replica that lags behind.
          timeout: for each call by itself.
        """
        return self._call_verified(self._stub.CreateTicket, request, verify, timeout)

    def add_connection_verified(
        self, request: pb.AddConnectionRequest, verify: Verify, *, timeout: Optional[float] = None
    ) -> pb.AddConnectionResponse:
        """AddConnection under the rule of `create_ticket_verified`."""
        return self._call_verified(self._stub.AddConnection, request, verify, timeout)

    def publish(
        self, requests: Iterable[pb.PublishRequest], *, timeout: Optional[float] = None
    ) -> Iterator[pb.PublishResponse]:
        """Does what the requests say, and yields their responses, in order.

        It begins when the first response is asked for, and what is left of it is
        cancelled when the iterator is closed. The requests are taken from another thread, as fast as the broker does
        them. An item's error: see `from_publish_error`. A timeout, when given,
        ends the whole stream.
        """
        call = self._start(self._stub.Publish, iter(requests), timeout)
        try:
            yield from call
        except grpc.RpcError as error:
            raise _error.from_rpc_error(error) from error
        finally:
            call.cancel()

    def watch_connections(
        self, request: pb.WatchConnectionsRequest, *, timeout: Optional[float] = None
    ) -> ConnectionWatch:
        """A timeout, when given, ends the whole watch."""
        return ConnectionWatch(self._start(self._stub.WatchConnections, request, timeout))

    def attach(self, start: attach_pb2.AttachStart, *, timeout: Optional[float] = None) -> AttachStream:
        """Attaches a service. A timeout, when given, ends the whole stream."""
        requests: "queue.SimpleQueue[Optional[attach_pb2.AttachRequest]]" = queue.SimpleQueue()
        requests.put(attach_pb2.AttachRequest(start=start))
        return self._attach(requests, timeout)

    def request_connection(
        self, request: conversation_pb2.RequestConnectionRequest, *, timeout: Optional[float] = None
    ) -> conversation_pb2.RequestConnectionResponse:
        """Asks one client. The call's timeout ends the request, too: give it a
        longer one together with a longer `request.timeout`."""
        return self._call(self._stub.RequestConnection, request, timeout)

    def request_filtered(
        self, request: conversation_pb2.RequestFilteredRequest, *, timeout: Optional[float] = None
    ) -> ClientReplies:
        """Asks many clients; a timeout, when given, ends the whole stream."""
        return ClientReplies(self._start(self._stub.RequestFiltered, request, timeout))

    def add_connection(
        self, request: pb.AddConnectionRequest, *, timeout: Optional[float] = None
    ) -> pb.AddConnectionResponse:
        return self._call(self._stub.AddConnection, request, timeout)

    def admit_connection(
        self, request: pb.AdmitConnectionRequest, *, timeout: Optional[float] = None
    ) -> pb.AdmitConnectionResponse:
        return self._call(self._stub.AdmitConnection, request, timeout)

    def update_connection(
        self, request: pb.UpdateConnectionRequest, *, timeout: Optional[float] = None
    ) -> pb.UpdateConnectionResponse:
        return self._call(self._stub.UpdateConnection, request, timeout)

    def update_connections_filtered(
        self, request: pb.UpdateConnectionsFilteredRequest, *, timeout: Optional[float] = None
    ) -> pb.UpdateConnectionsFilteredResponse:
        return self._call(self._stub.UpdateConnectionsFiltered, request, timeout)

    def remove_connection(
        self, request: pb.RemoveConnectionRequest, *, timeout: Optional[float] = None
    ) -> pb.RemoveConnectionResponse:
        return self._call(self._stub.RemoveConnection, request, timeout)

    def create_ticket(
        self, request: pb.CreateTicketRequest, *, timeout: Optional[float] = None
    ) -> pb.CreateTicketResponse:
        return self._call(self._stub.CreateTicket, request, timeout)

    def close_sockets_for_session(
        self, request: pb.CloseSocketsForSessionRequest, *, timeout: Optional[float] = None
    ) -> pb.CloseSocketsForSessionResponse:
        return self._call(self._stub.CloseSocketsForSession, request, timeout)

    def close_sockets_for_account(
        self, request: pb.CloseSocketsForAccountRequest, *, timeout: Optional[float] = None
    ) -> pb.CloseSocketsForAccountResponse:
        return self._call(self._stub.CloseSocketsForAccount, request, timeout)

    def close_sockets_for_token(
        self, request: pb.CloseSocketsForTokenRequest, *, timeout: Optional[float] = None
    ) -> pb.CloseSocketsForTokenResponse:
        return self._call(self._stub.CloseSocketsForToken, request, timeout)

    def close_sockets_filtered(
        self, request: pb.CloseSocketsFilteredRequest, *, timeout: Optional[float] = None
    ) -> pb.CloseSocketsFilteredResponse:
        return self._call(self._stub.CloseSocketsFiltered, request, timeout)

    def list_revocations(
        self, request: pb.ListRevocationsRequest, *, timeout: Optional[float] = None
    ) -> pb.ListRevocationsResponse:
        return self._call(self._stub.ListRevocations, request, timeout)

    def lift_revocation(
        self, request: pb.LiftRevocationRequest, *, timeout: Optional[float] = None
    ) -> pb.LiftRevocationResponse:
        return self._call(self._stub.LiftRevocation, request, timeout)

    def send(self, request: pb.SendRequest, *, timeout: Optional[float] = None) -> pb.SendResponse:
        return self._call(self._stub.Send, request, timeout)

    def send_to_connection(
        self, request: pb.SendToConnectionRequest, *, timeout: Optional[float] = None
    ) -> pb.SendToConnectionResponse:
        return self._call(self._stub.SendToConnection, request, timeout)

    def send_to_account(
        self, request: pb.SendToAccountRequest, *, timeout: Optional[float] = None
    ) -> pb.SendToAccountResponse:
        return self._call(self._stub.SendToAccount, request, timeout)

    def broadcast_filtered(
        self, request: pb.BroadcastFilteredRequest, *, timeout: Optional[float] = None
    ) -> pb.BroadcastFilteredResponse:
        return self._call(self._stub.BroadcastFiltered, request, timeout)

    def get_connection(
        self, request: pb.GetConnectionRequest, *, timeout: Optional[float] = None
    ) -> pb.GetConnectionResponse:
        return self._call(self._stub.GetConnection, request, timeout)

    def list_connections(
        self, request: pb.ListConnectionsRequest, *, timeout: Optional[float] = None
    ) -> pb.ListConnectionsResponse:
        return self._call(self._stub.ListConnections, request, timeout)

    def count_connections(
        self, request: pb.CountConnectionsRequest, *, timeout: Optional[float] = None
    ) -> pb.CountConnectionsResponse:
        return self._call(self._stub.CountConnections, request, timeout)

    def get_broker_info(
        self, request: pb.GetBrokerInfoRequest, *, timeout: Optional[float] = None
    ) -> pb.GetBrokerInfoResponse:
        return self._call(self._stub.GetBrokerInfo, request, timeout)

    def _attach(
        self, requests: Requests, timeout: Optional[float] = None, wait_for_ready: Optional[bool] = None
    ) -> AttachStream:
        call = self._start(self._stub.Attach, iter(requests.get, None), timeout, wait_for_ready)
        return AttachStream(call, requests)

    def _connection_error(self) -> Optional[_error.BrokerError]:
        """Why there is no connection at the moment; None when there is one."""
        try:
            self._start(self._stub.GetBrokerInfo, pb.GetBrokerInfoRequest(), 1.0, wait_for_ready=False)
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return _error.from_rpc_error(error)
        return None

    def _start(self, method, request, timeout, wait_for_ready=None):
        if wait_for_ready is None:
            wait_for_ready = self._wait_for_ready
        metadata = self._authorization
        if self._metadata is not None:
            metadata += tuple(self._metadata())
        return method(request, timeout=timeout, wait_for_ready=wait_for_ready, metadata=metadata)

    def _call(self, method, request, timeout):
        try:
            response = self._start(method, request, self._timeout if timeout is None else timeout)
        except grpc.RpcError as error:
            raise _error.from_rpc_error(error) from error
        # Also a lower one, which is safe: the broker may be another one.
        with self._mutex:
            self._newest_epoch = getattr(response, "epoch", 0) or self._newest_epoch
        return response

    def _call_verified(self, method, request, verify, timeout):
        # Before the look-up: a revocation that comes later is then newer.
        epoch = self.newest_epoch or self._read_epoch(timeout)
        for last in (False, True):
            verified = self._verified(request, verify, epoch)
            try:
                return self._call(method, verified, timeout)
            except _error.BrokerError as error:
                if last or error.reason not in _EPOCH_OUTDATED:
                    raise
            epoch = self._read_epoch(timeout)

    def _verified(self, request, verify, epoch):
        verified = type(request)()
        verified.CopyFrom(request)
        verified.verified_at_epoch = epoch
        identity = verify()
        if not isinstance(identity, connection_pb2.Identity):
            # Not the value: it may be what proves a session.
            raise TypeError(f"verify must return an Identity or raise, but returned a {type(identity).__name__}")
        verified.identity.CopyFrom(identity)
        return verified

    def _read_epoch(self, timeout):
        return self.get_broker_info(pb.GetBrokerInfoRequest(), timeout=timeout).epoch
