"""Routes for operators and machines: health, metrics, version. None waits for the engine."""

from collections.abc import Callable
from importlib.metadata import version

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from app.checkpoint import Checkpoint
from app.contract.request_models import GroundBody
from app.contract.response_models import PictureProcessesBody, VersionBody
from app.grounding.tasks import MAX_BOXES_PER_REGION, MAX_REGIONS
from app.ipc.shared_state import SharedState
from app.pictures.workers.pool import PicturePool
from app.settings import Settings
from app.telemetry.metrics import render_metrics

LIVENESS, READINESS, METRICS = "/livez", "/readyz", "/metrics"
OPS_PATHS = (LIVENESS, READINESS, METRICS)
"""What can have a port of its own."""

TAG = {
    "name": "operations",
    "description": "Open to all, also where keys are needed. Where the operator has set "
    f"`KOSMOS2_OPS_PORT`, {', '.join(f'`{path}`' for path in OPS_PATHS)} are there and nowhere "
    "else.",
}


def ops_router(
    settings: Settings,
    checkpoint: Checkpoint,
    state: SharedState,
    pictures: PicturePool,
    clock: Callable[[], float],
) -> APIRouter:
    """The routes.

    Args:
        settings: for `/version`.
        checkpoint: likewise.
        state: tells what the engine last did.
        pictures: whose processes `/version` describes.
        clock: monotonic, seconds.
    """
    router = APIRouter(tags=[TAG["name"]])

    @router.get(LIVENESS, summary="Is this process alive?")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get(
        READINESS,
        summary="Would a request be served now?",
        responses={503: {"description": "Starting, draining, restarting or stuck."}},
    )
    async def readyz(response: Response) -> dict[str, str]:
        status = _status(state, clock())
        if status != "ready":
            response.status_code = 503
        return {"status": status}

    @router.get(
        METRICS,
        summary="Prometheus metrics of all processes.",
        response_class=PlainTextResponse,
    )
    def metrics() -> Response:
        content, content_type = render_metrics()
        return Response(content, headers={"Content-Type": content_type})

    @router.get("/version", summary="What runs, with its defaults and limits.")
    async def get_version() -> VersionBody:
        return _version(settings, checkpoint, state, pictures)

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
            "places": state.capacity,
        },
        picture_processes=PictureProcessesBody.from_abilities(pictures.abilities),
    )
