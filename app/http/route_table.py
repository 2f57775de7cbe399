"""Finds the facts about a request's route that middleware needs before the router runs."""

import re
from collections.abc import Mapping
from types import MappingProxyType

from fastapi import APIRouter
from starlette.routing import Route
from starlette.types import Scope

from app.errors import StartupError
from app.telemetry.metrics import DoorName

_MISSING_PATHS: Mapping[str, DoorName] = MappingProxyType(
    dict.fromkeys(("/v1/completions", "/v1/embeddings", "/v1/responses"), "openai")
)
"""Paths that no route has, but that clients of a door call: these show only errors of its shape."""

UNKNOWN_ROUTE = "Not Found"
"""In logs, the name of every path that no route has: such a path is user input."""


class RouteTable:
    """The paths of an application, by door.

    A door is the set of routes that serve the clients of one project. A route that answers `POST`
    runs the model, so it needs one of the service's permits. Every path needs a key unless it was
    added as open. No path has two routes.
    """

    def __init__(self) -> None:
        self._doors: dict[str, DoorName] = {}
        self._patterns: list[tuple[re.Pattern[str], str, DoorName]] = []
        self._posted: set[str] = set()
        self._open: set[str] = set()

    def add(self, door: DoorName, router: APIRouter, *, is_open: bool = False) -> None:
        """Add the routes of a router.

        Args:
            is_open: whether the routes need no key.

        Raises:
            StartupError: another route has a path that an operator chose.
            ValueError: a route that runs the model is open, or has a parameter in its path, or an
                open route has one.
        """
        for route in router.routes:
            if not isinstance(route, Route):
                raise ValueError("a door has plain routes only")
            is_post = "POST" in (route.methods or ())
            if route.param_convertors:
                if is_post or is_open:
                    raise ValueError(f"{route.path} must not have parameters")
                # The router matches no line break, but its 404 has the shape of the door too.
                regex = re.compile(route.path_regex.pattern, re.DOTALL)
                self._patterns.append((regex, route.path, door))
                continue
            if is_post and is_open:
                raise ValueError(f"{route.path} runs the model, so it must not be open")
            self._check_is_free(route.path, is_post=is_post)
            if is_post:
                self._posted.add(route.path)
            if is_open:
                self._open.add(route.path)
            self._doors[route.path] = door

    def _check_is_free(self, path: str, *, is_post: bool) -> None:
        # Of two routes that match, the first one would be served. Those with parameters only
        # answer GET.
        is_taken = path in self._doors if is_post else self.name_of(path) != UNKNOWN_ROUTE
        if is_taken:
            raise StartupError(
                f"another route has the path {path}; choose a different KOSMOS2_PREDICT_ROUTE or "
                "KOSMOS2_HEALTH_ROUTE (on Vertex AI: AIP_PREDICT_ROUTE, AIP_HEALTH_ROUTE)"
            )

    def open_path(self, path: str) -> None:
        """Let requests to a path of this project pass without a key."""
        self._doors[path] = "kosmos2"
        self._open.add(path)

    def door_of(self, path: str) -> DoorName:
        """Return the door of a path; most paths that no route has belong to this project's door."""
        if path in self._doors:
            return self._doors[path]
        doors = (door for regex, _, door in self._patterns if regex.match(path))
        return next(doors, _MISSING_PATHS.get(path, "kosmos2"))

    def name_of(self, path: str) -> str:
        """Return the pattern of a path's route, or `UNKNOWN_ROUTE`."""
        if path in self._doors:
            return path
        names = (name for regex, name, _ in self._patterns if regex.match(path))
        return next(names, UNKNOWN_ROUTE)

    def needs_permit(self, scope: Scope) -> bool:
        """Return whether a request needs one of the service's permits."""
        is_http = scope["type"] == "http"
        return is_http and scope["method"] == "POST" and scope["path"] in self._posted

    def is_open(self, path: str) -> bool:
        """Return whether a request needs no key."""
        return path in self._open
