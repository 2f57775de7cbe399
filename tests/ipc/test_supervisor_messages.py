"""Messages from the supervisor survive the way to an HTTP process."""

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
def test_a_message_is_one_line_and_is_read_as_it_was_written(message: SupervisorMessage) -> None:
    line = encode_line(message)
    assert line.index(b"\n") == len(line) - 1
    assert decode_line(line) == message


@pytest.mark.parametrize("line", [b"{}\n", b'{"type":"stop"}\n', b'{"type":"engine_ready"}\n'])
def test_a_line_that_is_no_message_is_an_error(line: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_line(line)
