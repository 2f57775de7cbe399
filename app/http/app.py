"""Builds the FastAPI application: routes, middleware, error handlers."""

from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from time import monotonic, time
from typing import NamedTuple

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from app.checkpoint.files import Checkpoint
from app.errors import Kosmos2Error
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.http.calls import Calls
from app.http.middleware.admission import AdmissionCheck
from app.http.middleware.api_keys import ApiKeys
from app.http.middleware.body_limit import BodyLimit
from app.http.middleware.head_requests import HeadRequests
from app.http.middleware.ops_port import OpsPort
from app.http.middleware.request_context import RequestContext
from app.http.middleware.tracing import Tracing
from app.http.openapi import complete_description
from app.http.problems import handle_framework_error, handle_our_error
from app.http.route_table import RouteTable
from app.http.routes.annotate import annotate_router
from app.http.routes.detect import detect_router
from app.http.routes.docs import DOCS_PATHS, add_docs
from app.http.routes.ground import ground_router
from app.http.routes.invocations import INVOCATIONS, PING, invocations_router
from app.http.routes.moondream import moondream_router
from app.http.routes.openai.chat import chat_router
from app.http.routes.openai.models import models_router
from app.http.routes.ops import OPS_PATHS, READINESS, TAG, ops_router, readiness_router
from app.http.routes.playground import playground_router
from app.http.routes.roboflow import roboflow_router
from app.http.routes.tasks import tasks_router
from app.ipc.admission import Admission
from app.ipc.engine_client import EngineClient
from app.ipc.shared_state import SharedState
from app.pictures.workers.pool import PicturePool
from app.service import Service
from app.settings import Settings
from app.telemetry.metrics import DoorName, HttpMetrics
from app.telemetry.tracing import Tracer

GROUNDING_TAG = {
    "name": "grounding",
    "description": "Send a picture and a task, receive text and boxes. If the operator has set API "
    "keys, every request needs one.",
}


def create_app(
    settings: Settings,
    checkpoint: Checkpoint,
    admission: Admission,
    engine: EngineClient,
    pictures: PicturePool,
    clock: Callable[[], float] = monotonic,
    ops_port: int | None = None,
    tracer: Tracer | None = None,
    unix_time: Callable[[], float] = time,
) -> FastAPI:
    """Return the application of one HTTP process.

    Args:
        engine: its `receive` has to run in parallel with the application.
        clock: monotonic, seconds.
        ops_port: separate port for health and metrics; `None`: the main port serves them.
        tracer: sends traces; `None` disables tracing.
        unix_time: seconds since 1970, for answers whose form has a date.

    Raises:
        StartupError: a path of Vertex AI is that of another route.
    """
    metrics = HttpMetrics()
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    service = Service(settings, checkpoint, tokenizer, admission, engine, pictures, metrics, clock)
    calls = Calls(settings, metrics, clock)
    app = _empty_application()
    table = RouteTable()
    _include(app, table, _doors(settings, checkpoint, service, calls, unix_time))
    _include(app, table, _open_doors(settings, checkpoint, engine.state, pictures, clock))
    add_docs(app)
    for path in (*DOCS_PATHS, app.openapi_url or ""):
        table.open_path(path)
    # Last, because only its paths can be those of other routes, which is an error.
    _include(app, table, _vertex_doors(settings, service, calls, engine.state, clock))
    complete_description(app)
    app.add_exception_handler(Kosmos2Error, handle_our_error)
    app.add_exception_handler(HTTPException, handle_framework_error)
    _add_checks(app, table, settings, admission, engine.state, metrics, clock)
    if ops_port is not None:
        app.add_middleware(OpsPort, port=ops_port)
    if tracer is not None:
        app.add_middleware(Tracing, table=table, tracer=tracer)
    probes = {*OPS_PATHS, PING, settings.health_route}
    app.add_middleware(RequestContext, table=table, state=engine.state, clock=clock, probes=probes)
    _allow_origins(app, settings)
    return app


def _empty_application() -> FastAPI:
    return FastAPI(
        title="Kosmos-2",
        version=version("kosmos2-server"),
        description="Accepts a picture and a task, returns grounded text with boxes.",
        openapi_tags=[GROUNDING_TAG, TAG],
        docs_url=None,
        redoc_url=None,
        # Relative, so that it also works behind a proxy that strips a prefix.
        servers=[{"url": "./"}],
        redirect_slashes=False,  # redirects would trust the Host header of the request
    )


class _Door(NamedTuple):
    """A router, the door that it belongs to, and whether its routes need no key."""

    name: DoorName
    router: APIRouter
    is_open: bool = False


def _open_doors(
    settings: Settings,
    checkpoint: Checkpoint,
    state: SharedState,
    pictures: PicturePool,
    clock: Callable[[], float],
) -> Iterator[_Door]:
    """Yield the routers for operations, which need no key."""
    yield _Door("kosmos2", readiness_router(READINESS, state, clock), is_open=True)
    yield _Door("kosmos2", ops_router(settings, checkpoint, state, pictures), is_open=True)
    if settings.playground:
        yield _Door("kosmos2", playground_router(), is_open=True)
    yield _Door("sagemaker", readiness_router(PING, state, clock), is_open=True)


def _doors(
    settings: Settings,
    checkpoint: Checkpoint,
    service: Service,
    calls: Calls,
    unix_time: Callable[[], float],
) -> Iterator[_Door]:
    """Yield the routers whose routes need a key."""
    yield _Door("kosmos2", ground_router(service, calls))
    yield _Door("kosmos2", annotate_router(service, calls))
    yield _Door("kosmos2", detect_router(service, calls))
    yield _Door("kosmos2", tasks_router(checkpoint))
    yield _Door("openai", chat_router(service, calls, checkpoint.name, unix_time))
    yield _Door("openai", models_router(checkpoint.name, unix_time))
    yield _Door("roboflow", roboflow_router(service, calls))
    yield _Door("moondream", moondream_router(service, calls))
    options = settings.invocation_options
    yield _Door("sagemaker", invocations_router(INVOCATIONS, service, calls, options))


def _vertex_doors(
    settings: Settings,
    service: Service,
    calls: Calls,
    state: SharedState,
    clock: Callable[[], float],
) -> Iterator[_Door]:
    """Yield the routers of the paths that Vertex AI chooses, if they are new."""
    predict, health = settings.predict_route, settings.health_route
    # With a separate port for operations, the main port does not serve `READINESS`.
    same = {PING} if settings.ops_port is not None else {PING, READINESS}
    if predict is not None and predict != INVOCATIONS:
        router = invocations_router(predict, service, calls, settings.invocation_options)
        yield _Door("vertex", router)
    if health is not None and health not in same:
        yield _Door("vertex", readiness_router(health, state, clock), is_open=True)


def _include(app: FastAPI, table: RouteTable, doors: Iterable[_Door]) -> None:
    """Add routes to the application, and to the table that middleware reads."""
    for door in doors:
        app.include_router(door.router)
        table.add(door.name, door.router, is_open=door.is_open)


def _add_checks(
    app: FastAPI,
    table: RouteTable,
    settings: Settings,
    admission: Admission,
    state: SharedState,
    metrics: HttpMetrics,
    clock: Callable[[], float],
) -> None:
    """Add the checks before a body is read: keys first, then sizes, then admission."""
    # Each call wraps the ones before: the last middleware sees a request first.
    app.add_middleware(HeadRequests)
    app.add_middleware(
        AdmissionCheck, table=table, admission=admission, metrics=metrics, clock=clock
    )
    app.add_middleware(BodyLimit, settings=settings, metrics=metrics)
    app.add_middleware(
        ApiKeys, table=table, settings=settings, state=state, metrics=metrics, clock=clock
    )


def _allow_origins(app: FastAPI, settings: Settings) -> None:
    """Let browsers of the configured origins call the service (CORS)."""
    if settings.cors_origins:  # outermost, so that error responses have the CORS headers too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST"],
            # Browser tools for tracing and error reports add their own headers.
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["X-Request-ID", "Retry-After", "WWW-Authenticate", "traceresponse"],
        )
