"""JSON as the broker carries it, and JSON-RPC 2.0 errors."""

import json
from typing import Any, Iterable, Optional

from socketbroker.v1 import conversation_pb2

# So deep may the params, a result, and the data of an error be.
PARAMS_LEVELS = 31
RESULT_LEVELS = 31
_DATA_LEVELS = 30
_MAX_METHOD_BYTES = 256
# The most that `max_message_bytes` of an endpoint may be.
_MAX_MESSAGE_BYTES = 3 * 1024 * 1024


class JsonRpcError(Exception):
    """What a handler raises, or returns, to answer a request with an error.

    Attributes:
      code: says what kind of error it is. JSON-RPC 2.0 keeps -32768 to -32000
        to itself.
      message: one sentence, which the client sees.
      data: any JSON value that says more; None: the error has no `data`.
    """

    code: int
    message: str
    data: Any

    def __init__(self, code: int, message: str, data: Any = None):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.data = data

    def to_proto(self) -> conversation_pb2.JsonRpcError:
        """Raises ValueError or TypeError when a part of it cannot be sent."""
        return conversation_pb2.JsonRpcError(
            code=self.code, message=self.message,
            data_json=None if self.data is None else encode(self.data, _DATA_LEVELS))


def encode(value: Any, levels: int) -> bytes:
    """JSON text that the broker takes, or ValueError or TypeError.

    Of a text that the broker does not take only the broker's log would say why,
    and one that is much too long ends the stream; so they are found here.
    """
    _check(value, levels)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    check_size(len(text))
    return text


def _check(value: Any, levels: int) -> None:
    inner: Iterable[Any]
    if isinstance(value, dict):
        for key in value:
            # json.dumps makes one key of 1 and "1", and the broker allows none twice.
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} of a JSON object is not a str")
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    else:
        if isinstance(value, int):
            float(value)  # OverflowError: the broker does not take it either
        return
    if levels == 0:
        raise ValueError("a JSON value with too many levels")
    for each in inner:
        _check(each, levels - 1)


def encode_params(params: Any) -> Optional[bytes]:
    """None when there are none."""
    if params is None:
        return None
    if not isinstance(params, (dict, list, tuple)):
        raise TypeError(f"params must be a dict, a list or None, but are {params!r}")
    return encode(params, PARAMS_LEVELS)


def check_size(size: int) -> None:
    """What no endpoint takes is not sent."""
    if size > _MAX_MESSAGE_BYTES:
        raise ValueError(f"the message has {size} bytes, at most {_MAX_MESSAGE_BYTES} are allowed anywhere")


def check_method(method: str) -> None:
    """What the broker wants of a method that it carries to clients."""
    size = len(method.encode())
    if not 0 < size <= _MAX_METHOD_BYTES:
        raise ValueError(f"the method has {size} bytes, 1 to {_MAX_METHOD_BYTES} are allowed")
    if method.startswith("rpc."):
        raise ValueError(f"the method {method!r}: names that begin with 'rpc.' are reserved by JSON-RPC 2.0")
