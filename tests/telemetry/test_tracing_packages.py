"""The extra `tracing` is checked before the service starts."""

import sys

import pytest

from app.errors import StartupError
from app.telemetry.tracing import check_installed


@pytest.mark.parametrize("package", ["opentelemetry", "opentelemetry.exporter.otlp"])
def test_a_missing_package_is_reported_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Another library may have installed a part of OpenTelemetry."""
    for name in [name for name in sys.modules if name.startswith(package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StartupError, match=r"kosmos2-server\[tracing\]"):
        check_installed()
