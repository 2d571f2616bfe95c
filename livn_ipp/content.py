"""Fingerprints of objects by their content."""

import hashlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

import cloudpickle
import numpy as np
from pydantic import BaseModel

__all__ = ["content_digest", "content_key"]


def content_digest(value: Any) -> str:
    """Fingerprint of an object's content, and of the code that belongs to it.

    Parameters
    ----------
    value
        Anything that cloudpickle can pickle. Models count by their fields, whether set
        or left at their default; arrays by their elements; functions and classes that
        no module can be asked for (a notebook's) by their code and by the globals that
        it uses.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> content_digest([1, 2]) == content_digest([1, 2]) != content_digest([1, 3])
    True
    """
    return str(_digest(value, _code).hexdigest()[:32])


def content_key(value: Any) -> bytes:
    """Key that two objects of this process share if and only if their content is equal.

    Functions and classes count by identity, which is cheaper than by code and outlasts
    what unpickling does to a class.

    Examples
    --------
    >>> content_key({"rates": np.arange(3)}) == content_key({"rates": np.arange(3)})
    True
    """
    return bytes(_digest(value, _identity).digest())


# A pickle will not do as the fingerprint of data: it also tells whether equal strings
# are one object, in which order a set was filled and which fields were left out.


def _digest(value: Any, code: Callable[[Any], bytes]) -> Any:
    sink = hashlib.sha256()
    _feed(sink, value, code)
    return sink


def _feed(sink: Any, value: Any, code: Callable[[Any], bytes]) -> None:
    kind = type(value)
    sink.update(kind.__qualname__.encode() + b"\0")
    if value is None or kind in (bool, int, float, complex):
        _put(sink, repr(value).encode())
    elif kind is str:
        _put(sink, value.encode("utf-8", "surrogatepass"))
    elif kind in (bytes, bytearray):
        _put(sink, value)
    elif kind in (list, tuple):
        _put_all(sink, [_digest(item, code).digest() for item in value])
    elif kind in (set, frozenset):
        _put_all(sink, sorted(_digest(item, code).digest() for item in value))
    elif kind is dict:
        _put_all(sink, sorted(_digest(pair, code).digest() for pair in value.items()))
    elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
        _put(sink, f"{value.dtype.descr}{value.shape}".encode())
        _put(sink, value.tobytes())
    elif isinstance(value, BaseModel):
        _put(sink, code(kind))
        state = value.__getstate__()
        for part in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
            _feed(sink, state[part], code)
    elif isinstance(value, (type, FunctionType)):
        _put(sink, code(value))
    else:
        _put(sink, cloudpickle.dumps(value))


def _put(sink: Any, data: bytes) -> None:
    sink.update(len(data).to_bytes(8, "little"))
    sink.update(data)


def _put_all(sink: Any, digests: list[bytes]) -> None:
    _put(sink, b"".join(digests))


def _identity(thing: Any) -> bytes:
    return id(thing).to_bytes(8, "little")


def _code(thing: Any) -> bytes:
    # What a module can be asked for is pickled as its name, anything else as its code.
    return bytes(cloudpickle.dumps(thing))
