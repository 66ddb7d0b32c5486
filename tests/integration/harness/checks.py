"""What tests say of answers and sockets."""

import contextlib

import grpc
import pytest

from harness.sockets import Refused
from socketbroker import BrokerError

REVOKED = (4001, "Session revoked")


@contextlib.contextmanager
def fails(code, reason=None, field=None):
    """The call inside must fail with this code and reason, and name this field."""
    with pytest.raises(BrokerError) as caught:
        yield caught
    error = caught.value
    assert error.code == grpc.StatusCode[code], error
    assert error.message, "an error without a sentence"
    if reason is not None:
        assert error.reason == reason, error
    if field is not None:
        assert field in [violation.field for violation in error.violations], error.violations


@contextlib.contextmanager
def refused(status):
    """The handshake inside must be answered with this HTTP status."""
    with pytest.raises(Refused) as caught:
        yield
    assert caught.value.status == status


def notification(method="note", **params):
    """A Message in the form that most tests send."""
    from socketbroker.v1 import message_pb2

    result = message_pb2.Message()
    result.notification.method = method
    if params:
        result.notification.params_struct.update(params)
    return result
