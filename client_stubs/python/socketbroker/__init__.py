"""Client for socket-broker. Messages are in `socketbroker.v1`."""

from socketbroker.client import Client, tls_from_files
from socketbroker.error import BrokerError, FieldViolation, from_publish_error
from socketbroker.streams import AttachStream, ClientReplies, ConnectionWatch

__all__ = ["AttachStream", "BrokerError", "Client", "ClientReplies", "ConnectionWatch", "FieldViolation",
           "from_publish_error", "tls_from_files"]
