"""Client for socket-broker. Messages are in `socketbroker.v1`."""

from socketbroker.client import AttachStream, Client, ConnectionWatch, tls_from_files
from socketbroker.error import BrokerError, FieldViolation, from_publish_error

__all__ = ["AttachStream", "BrokerError", "Client", "ConnectionWatch", "FieldViolation", "from_publish_error",
           "tls_from_files"]
