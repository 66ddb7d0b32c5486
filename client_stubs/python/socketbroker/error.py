"""Errors of the broker, with what they say beside code and message."""

from typing import Dict, List, NamedTuple

import grpc
from google.protobuf.message import DecodeError

from socketbroker._rpc import error_details_pb2, status_pb2

_DOMAIN = "socketbroker"
_DETAILS_KEY = "grpc-status-details-bin"


class FieldViolation(NamedTuple):
    """A wrong field of the request: its path, and what is wrong with it."""

    field: str
    description: str


class BrokerError(Exception):
    """A call failed.

    Attributes:
      code: the grpc.StatusCode.
      message: a sentence for a developer.
      reason: a constant such as "CREDENTIAL_REVOKED"; empty when the error has
        none or is not the broker's own.
      metadata: more facts that belong to the reason.
      violations: every wrong field of the request that the broker found.
    """

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: Dict[str, str]
    violations: List[FieldViolation]

    def __init__(self, code, message, reason="", metadata=None, violations=()):
        super().__init__(f"{code.name}: {message}" + (f" ({reason})" if reason else ""))
        self.code = code
        self.message = message
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.violations = list(violations)


def from_rpc_error(error):
    """The BrokerError for a grpc.RpcError. Details that cannot be read are left out."""
    result = BrokerError(error.code(), error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS_KEY:
            continue
        try:
            reason, metadata, violations = _read_details(value)
        except DecodeError:
            continue
        result = BrokerError(result.code, result.message, reason, metadata, violations)
    return result


def from_publish_error(error):
    """The BrokerError for a PublishError: what the call of its own would have raised."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    code = codes.get(error.code, grpc.StatusCode.UNKNOWN)
    return BrokerError(code, error.message, *_read_details(error.SerializeToString()))


def _read_details(value):
    reason, metadata, violations = "", {}, []
    for detail in status_pb2.Status.FromString(value).details:
        # Not Unpack: our copies have the wire format, but not the name.
        name = detail.type_url.rpartition("/")[2]
        if name == "google.rpc.ErrorInfo":
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            if info.domain == _DOMAIN:
                reason, metadata = info.reason, dict(info.metadata)
        elif name == "google.rpc.BadRequest":
            for violation in error_details_pb2.BadRequest.FromString(detail.value).field_violations:
                violations.append(FieldViolation(violation.field, violation.description))
    return reason, metadata, violations
