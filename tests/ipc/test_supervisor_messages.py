"""Encoding of messages from the supervisor to HTTP processes."""

import msgspec
import pytest

from app.ipc.supervisor_messages import (
    Drain,
    EngineReady,
    SupervisorMessage,
    decode_line,
    encode_line,
)

LARGEST_KEY = 2**63 - 1


@pytest.mark.parametrize("message", [Drain(), EngineReady(3), EngineReady(3, (1, LARGEST_KEY))])
def test_a_message_is_one_line_and_decodes_to_itself(message: SupervisorMessage) -> None:
    line = encode_line(message)
    assert line.index(b"\n") == len(line) - 1
    assert decode_line(line) == message


@pytest.mark.parametrize("line", [b"{}\n", b'{"type":"stop"}\n', b'{"type":"engine_ready"}\n'])
def test_an_invalid_line_raises_an_error(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_line(line)
