"""Messages from the supervisor to HTTP processes: lines of JSON on their standard input.

The engine receives no such messages: its requests arrive at a socket, and closing its standard
input stops it.
"""

import msgspec


class EngineReady(msgspec.Struct, frozen=True, tag="engine_ready"):
    """A new engine is ready.

    Attributes:
        epoch: epoch of the new engine.
        suspects: keys of the requests that ran when the last engine died.
    """

    epoch: int
    suspects: tuple[int, ...] = ()


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """Accept no new connections, finish running requests within the grace period, then exit."""


SupervisorMessage = EngineReady | Drain

decode_line = msgspec.json.Decoder(SupervisorMessage).decode


def encode_line(message: SupervisorMessage) -> bytes:
    r"""Return the message as one line.

    >>> encode_line(EngineReady(epoch=2, suspects=(7,)))
    b'{"type":"engine_ready","epoch":2,"suspects":[7]}\n'
    >>> decode_line(encode_line(Drain()))
    Drain()
    """
    return msgspec.json.encode(message) + b"\n"
