"""Values of settings that would open or break a service are refused."""

import pytest
from pydantic import ValidationError

from app.settings import Settings, without_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", ""),
        ("MODEL", ""),
        ("REVISION", ""),
        ("QUANTIZED_CACHE", ""),
        ("API_KEYS_FILE", ""),
        ("API_KEYS", ""),
        ("CORS_ORIGINS", ""),
        ("GRACE_PERIOD_S", "inf"),
        ("DRAIN_DELAY_S", "inf"),
        ("DEADLINE_S", "nan"),
        ("HEALTH_ROUTE", "health"),
        ("HEALTH_ROUTE", "/a b"),
        ("PREDICT_ROUTE", "/{name}"),
        ("MAX_WAITING", str(2**32)),
        ("MAX_IMAGE_PIXELS", "65535"),
        ("MAX_IMAGE_PIXELS", str(10**20)),
    ],
)
def test_a_value_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """An empty host would be all addresses, an empty path the working directory, and no keys an
    open service. JSON, by which other processes get the settings, has no `inf`.

    The shared state holds 32 bits of the requests that may wait.
    """
    monkeypatch.setenv(f"KOSMOS2_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_an_environment_without_settings_has_no_name_of_any() -> None:
    environment = {"KOSMOS2_QUANTIZE": "int8", "kosmos2_port": "1", "AIP_HTTP_PORT": "2"}
    assert without_settings(environment | {"HOME": "/"}) == {"HOME": "/"}
