"""An engine that cannot be started again is given up, so that an orchestrator starts elsewhere."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from harness.fault_requests import ask
from harness.service import running_service
from harness.waiting import eventually


def test_after_restarts_that_fail_all_are_told_and_the_service_ends(
    tireless: Path, tmp_path: Path
) -> None:
    """With the exit code of the engine, which has said why in the log."""
    model = shutil.copytree(tireless, tmp_path / "model")
    with (
        running_service(model=model, max_engine_restarts=1, deadline_s=900) as service,
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(ask, service.url, max_new_tokens=400)
        assert eventually(lambda: service.metric("kosmos2_num_requests_running") == 1)
        (model / "model.safetensors").unlink()
        service.engine.kill()
        assert eventually(lambda: is_unavailable(service.url))
        response = waiting.result()
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        service.process.communicate(timeout=60)
        assert service.process.returncode == 65


def is_unavailable(url: str) -> bool:
    """Whether a new request is told to come again; before a restart has failed, it waits."""
    try:
        response = ask(url, max_new_tokens=1)
    except httpx.TransportError:
        return False
    return response.status_code == 503 and int(response.headers["Retry-After"]) >= 1
