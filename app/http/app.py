"""Builds the FastAPI application: routes, middleware, error handlers."""

from collections.abc import Callable
from importlib.metadata import version
from time import monotonic

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from app.checkpoint.files import Checkpoint
from app.errors import Kosmos2Error
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.http.middleware.admission import AdmissionCheck
from app.http.middleware.api_keys import ApiKeys
from app.http.middleware.body_limit import BodyLimit
from app.http.middleware.head_requests import HeadRequests
from app.http.middleware.ops_port import OpsPort
from app.http.middleware.request_context import RequestContext
from app.http.middleware.tracing import Tracing
from app.http.openapi import complete_description
from app.http.problems import handle_framework_error, handle_our_error
from app.http.routes.annotate import annotate_router
from app.http.routes.detect import detect_router
from app.http.routes.docs import add_docs
from app.http.routes.ground import ground_router
from app.http.routes.ops import TAG, ops_router
from app.http.routes.roboflow import roboflow_router
from app.http.routes.tasks import tasks_router
from app.ipc.admission import Admission
from app.ipc.engine_client import EngineClient
from app.pictures.workers.pool import PicturePool
from app.service import Service
from app.settings import Settings
from app.telemetry.metrics import HttpMetrics
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
) -> FastAPI:
    """Return the application of one HTTP process.

    Args:
        engine: its `receive` has to run in parallel with the application.
        clock: monotonic, seconds.
        ops_port: separate port for health and metrics; `None`: the main port serves them.
        tracer: sends traces; `None` disables tracing.
    """
    metrics = HttpMetrics()
    tokenizer = Kosmos2Tokenizer.load(checkpoint.directory)
    service = Service(settings, checkpoint, tokenizer, admission, engine, pictures, metrics, clock)
    app = FastAPI(
        title="Kosmos-2",
        version=version("kosmos2-server"),
        description="Takes a picture and a task, returns grounded text with boxes.",
        openapi_tags=[GROUNDING_TAG, TAG],
        docs_url=None,
        redoc_url=None,
        servers=[
            {"url": "./"}
        ],  # relative, so that it also works behind a proxy that strips a prefix
        redirect_slashes=False,  # redirects would trust the Host header of the request
    )
    app.include_router(ground_router(settings, service, metrics, clock))
    app.include_router(annotate_router(settings, service, metrics, clock))
    app.include_router(detect_router(settings, service, metrics, clock))
    app.include_router(roboflow_router(settings, service, metrics, clock))
    app.include_router(tasks_router(checkpoint))
    app.include_router(ops_router(settings, checkpoint, engine.state, pictures, clock))
    add_docs(app)
    complete_description(app)
    app.add_exception_handler(Kosmos2Error, handle_our_error)
    app.add_exception_handler(HTTPException, handle_framework_error)
    # Each call wraps the ones before: the last middleware sees a request first.
    app.add_middleware(HeadRequests)
    app.add_middleware(AdmissionCheck, admission=admission, metrics=metrics, clock=clock)
    app.add_middleware(BodyLimit, settings=settings, metrics=metrics)
    app.add_middleware(ApiKeys, settings=settings, state=engine.state, metrics=metrics, clock=clock)
    if ops_port is not None:
        app.add_middleware(OpsPort, port=ops_port)
    if tracer is not None:
        app.add_middleware(Tracing, tracer=tracer)
    app.add_middleware(RequestContext, state=engine.state, clock=clock)
    if settings.cors_origins:  # outermost, so that error responses have the CORS headers too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=[
                "*"
            ],  # browser tools for tracing and error reports add their own headers
            allow_private_network=True,
            expose_headers=["X-Request-ID", "Retry-After", "WWW-Authenticate", "traceresponse"],
        )
    return app
