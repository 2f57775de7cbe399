"""A running service answers damaged pictures and requests, and its processes survive."""

from harness import loopback
from harness.service import RunningService
from reliability.fuzz import FILES as FUZZED_FILES
from reliability.fuzz import post_mutants, processes_of, send_damaged_requests

COUNT = 10  # of each kind, anywhere and in the body


def test_every_damaged_picture_is_answered(service: RunningService) -> None:
    """No answer is a 5xx, and no process of the service ends. `make fuzz` sends more."""
    before = processes_of(service)
    ends = post_mutants(service, 1)
    assert ends.total() == len(FUZZED_FILES)
    assert {end[0] for end in ends} <= {"2", "4"}
    assert processes_of(service) == before


def test_every_damaged_request_is_answered_or_its_connection_is_closed(
    service: RunningService,
) -> None:
    """Damage can be anywhere: request line, headers, lengths, boundaries, JSON, base64."""
    before = processes_of(service)
    ends = send_damaged_requests(service, COUNT)
    assert ends.total() == 2 * COUNT * 9
    assert not [end for end in ends if end.startswith("5")]
    assert {"200", "400", "422"} <= ends.keys()
    assert loopback.get(f"{service.url}/readyz").status_code == 200
    assert processes_of(service) == before
