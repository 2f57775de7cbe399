"""Routes for operations: health, metrics, version. They never wait for the engine."""

from collections.abc import Callable
from importlib.metadata import version

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from app.checkpoint.files import Checkpoint
from app.contract.request_models import GroundBody
from app.contract.response_models import PictureProcessesBody, VersionBody
from app.grounding.tasks import MAX_BOXES_PER_REGION, MAX_REGIONS
from app.ipc.shared_state import SharedState
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from app.telemetry.metrics import render_metrics

LIVENESS, READINESS, METRICS = "/livez", "/readyz", "/metrics"
OPS_PATHS = (LIVENESS, READINESS, METRICS)
"""The paths that move to `ops_port` if the operator sets it."""

TAG = {
    "name": "operations",
    "description": "These routes never need a key. If the operator has set `KOSMOS2_OPS_PORT`, "
    f"only that port serves {', '.join(f'`{path}`' for path in OPS_PATHS)}.",
}


def ops_router(
    settings: Settings,
    checkpoint: Checkpoint,
    state: SharedState,
    pictures: PicturePool,
) -> APIRouter:
    """Return a router with the routes for operations, except readiness.

    Args:
        state: has the facts about the engine.
    """
    router = APIRouter(tags=[TAG["name"]])

    @router.get(LIVENESS, summary="Report that this process is alive.")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    # A sync function, so that FastAPI runs it in a thread: it reads the files of all processes.
    @router.get(
        METRICS,
        summary="Return the Prometheus metrics of all processes.",
        response_class=PlainTextResponse,
    )
    def metrics() -> Response:
        content, content_type = render_metrics()
        return Response(content, headers={"Content-Type": content_type})

    @router.get("/version", summary="Return version, model, defaults and limits.")
    async def get_version() -> VersionBody:
        return _version(settings, checkpoint, state, pictures)

    return router


def readiness_router(path: str, state: SharedState, clock: Callable[[], float]) -> APIRouter:
    """Return a router with one route that reports whether a request would be served now.

    Args:
        state: has the status of the engine and of the drain.
        clock: monotonic, seconds; shared with the engine's process.
    """
    router = APIRouter(tags=[TAG["name"]])

    @router.get(
        path,
        summary="Report whether a request would be served now.",
        responses={503: {"description": "The service is starting, draining, restarting or stuck."}},
    )
    async def readiness(response: Response) -> dict[str, str]:
        status = _status(state, clock())
        if status != "ready":
            response.status_code = 503
        return {"status": status}

    return router


def _status(state: SharedState, now: float) -> str:
    if state.is_draining:
        return "draining"
    if not state.is_engine_ready:
        return "starting"
    return "stuck" if state.is_stuck(now) else "ready"


def _version(
    settings: Settings, checkpoint: Checkpoint, state: SharedState, pictures: PicturePool
) -> VersionBody:
    fields = GroundBody.model_fields
    defaults = {
        name: field.default
        for name, field in fields.items()
        if not field.is_required() and field.default_factory is None and name != "text"
    }
    return VersionBody(
        version=version("kosmos2-server"),
        model={
            "name": checkpoint.name,
            "revision": checkpoint.revision,
            "embedded": checkpoint.is_embedded,
            "calibrated": checkpoint.calibration.is_measured,
            "notice": checkpoint.notice,
            "default_threshold": checkpoint.calibration.default_threshold,
            "dtype": state.engine_facts.dtype,
            "device": state.engine_facts.device,
        },
        defaults=defaults | {"no_repeat_ngram_size": checkpoint.no_repeat_ngram_size},
        limits={
            "max_body_bytes": settings.max_body_bytes,
            "max_image_pixels": settings.max_image_pixels,
            "max_sequence_length": settings.max_sequence_length,
            "max_regions": MAX_REGIONS,
            "max_boxes_per_region": MAX_BOXES_PER_REGION,
            "deadline_s": settings.deadline_s,
            "slots": state.engine_facts.num_slots,
            "max_requests": state.capacity,
        },
        picture_processes=PictureProcessesBody.from_abilities(pictures.abilities),
    )
