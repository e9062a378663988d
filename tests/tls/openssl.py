"""Two things that a TLS peer may do and that Python's ssl has no function for.

Taken from the OpenSSL that ssl itself has loaded, on the connection inside an SSLObject: a peer
that tries them must be answered properly, and other libraries' peers do.
"""

import _ssl
import ctypes
import ssl
from typing import Any

import pytest

_KEY_UPDATE_REQUESTED = 1


def renegotiate(secured: ssl.SSLObject) -> None:
    """Have the next do_handshake() ask for a new one (up to TLS 1.2)."""
    assert _function("SSL_renegotiate")(_connection(secured)) == 1


def update_keys(secured: ssl.SSLObject) -> None:
    """Have the next write() begin with new keys, and ask the other side for the same (TLS 1.3)."""
    assert (
        _function("SSL_key_update", ctypes.c_int)(_connection(secured), _KEY_UPDATE_REQUESTED) == 1
    )


def _function(name: str, *more: Any) -> Any:
    try:
        found = getattr(ctypes.CDLL(_ssl.__file__), name)
    except (AttributeError, OSError):
        pytest.skip("this Python's OpenSSL shows none of its functions")
    found.argtypes = (ctypes.c_void_p, *more)
    return found


def _connection(secured: ssl.SSLObject) -> ctypes.c_void_p:
    """The SSL of an SSLObject: after the object's head and a reference to a socket."""
    inside: Any = secured._sslobj  # type: ignore[attr-defined]
    place = id(inside) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)
    return ctypes.c_void_p.from_address(place)
