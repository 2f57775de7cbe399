"""The service exits after failed restarts, so that an orchestrator can replace it."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from app.errors import StartupError
from harness.fault_requests import request_caption
from harness.service import SERVE, environment_of, running_service
from harness.waiting import eventually


def test_after_failed_restarts_all_requests_are_rejected_and_the_service_exits(
    endless_checkpoint: Path, tmp_path: Path
) -> None:
    """With the exit code of the engine, whose log has the reason."""
    model = shutil.copytree(endless_checkpoint, tmp_path / "model")
    with (
        running_service(model=model, max_engine_restarts=1, deadline_s=900) as service,
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(request_caption, service.url, max_new_tokens=400)
        assert eventually(lambda: service.metric("kosmos2_num_requests_running") == 1)
        # Without its weights the next engine cannot start.
        (model / "model.safetensors").unlink()
        service.engine.kill()
        assert eventually(lambda: is_unavailable(service.url))
        response = waiting.result()
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        service.process.communicate(timeout=60)
        assert service.process.returncode == 65
        # The killed engine, the restart that may fail, and the one that may not.
        assert sum("engine ended" in line for line in service.log) == 3


def test_the_service_exits_if_its_http_process_cannot_start(tmp_path: Path) -> None:
    """Otherwise clients would connect and never be answered."""
    (tmp_path / "fastapi.py").write_text("raise ImportError('a broken installation')")
    module, arguments = SERVE
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | environment_of({"port": 0}) | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert "a broken installation" in result.stderr


def test_the_service_exits_if_a_path_of_vertex_is_that_of_another_route() -> None:
    """The last lines of the log have the reason."""
    module, arguments = SERVE
    result = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | environment_of({"port": 0}) | {"AIP_PREDICT_ROUTE": "/v1/ground"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == StartupError.exit_code
    assert "another route has the path /v1/ground" in result.stderr


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_NOFILE"), reason="limits of others need Linux")
def test_the_service_exits_if_no_process_can_be_started(endless_checkpoint: Path) -> None:
    """Without a descriptor left, as without memory: nothing else would restart the engine."""
    with running_service(model=endless_checkpoint) as service:
        process = psutil.Process(service.process.pid)
        # The next engine needs more descriptors than the dead one frees.
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), process.num_fds()))
        service.engine.kill()
        service.process.communicate(timeout=60)
        assert service.process.returncode == 1
        assert service.log[-1].lower().endswith("too many open files")


def is_unavailable(url: str) -> bool:
    """Return whether a request is rejected with `Retry-After`; until a restart fails, it waits."""
    try:
        response = request_caption(url, max_new_tokens=1)
    except httpx.TransportError:
        return False
    return response.status_code == 503 and int(response.headers["Retry-After"]) >= 1
