"""Client and service framework for socket-broker. Messages are in `socketbroker.v1`."""

from socketbroker.attachment import Refusal
from socketbroker.client import Client, tls_from_files
from socketbroker.context import Context
from socketbroker.error import BrokerError, FieldViolation, from_publish_error
from socketbroker.jsonrpc import JsonRpcError
from socketbroker.service import Service
from socketbroker.streams import AttachStream, ClientReplies, ConnectionWatch

__all__ = ["AttachStream", "BrokerError", "Client", "ClientReplies", "ConnectionWatch", "Context", "FieldViolation",
           "JsonRpcError", "Refusal", "Service", "from_publish_error", "tls_from_files"]
