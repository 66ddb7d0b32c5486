"""Client for socket-broker. Messages are in `socketbroker.v1`."""

from socketbroker.client import Client, ConnectionWatch
from socketbroker.error import BrokerError, FieldViolation

__all__ = ["BrokerError", "Client", "ConnectionWatch", "FieldViolation"]
