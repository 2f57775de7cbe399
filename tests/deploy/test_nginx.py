"""The shipped file of nginx agrees with the defaults of the service."""

import re

from app.settings import Settings
from harness.deployment import DEPLOY

CONFIG = (DEPLOY / "nginx" / "nginx.conf").read_text()


def test_the_limit_of_a_body_is_that_of_the_service() -> None:
    max_body_bytes = Settings().max_body_bytes
    assert f"client_max_body_size {max_body_bytes // 2**20}m;" in CONFIG
    assert f"at most {max_body_bytes:,} bytes" in CONFIG


def test_the_service_reports_a_timeout_before_nginx() -> None:
    timeouts = re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", CONFIG)
    assert len(timeouts) == 2
    assert all(int(timeout) > Settings().deadline_s for timeout in timeouts)
