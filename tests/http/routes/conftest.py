"""Sends chats to a door whose service gives known answers."""

from typing import Any

import httpx
import pytest

from app.http.routes.openai.chat import chat_router
from harness.door_app import DoorApp, KnownService
from tests.http.routes.chats import CAPTION, PATH, image, user


@pytest.fixture(scope="session")
def chat_door(tmp_path_factory: pytest.TempPathFactory) -> DoorApp:
    """The door for OpenAI's clients; each test sets the answers of its service."""

    def build(service: Any, calls: Any) -> Any:
        return chat_router(service, calls, "m", lambda: 5.5)

    return DoorApp("openai", build, KnownService(), tmp_path_factory.mktemp("chat"))


@pytest.fixture
def send_chat(chat_door: DoorApp) -> Any:
    """Sends a chat to a service with a known answer; returns response and service."""

    def call(
        *messages: Any, service: KnownService | None = None, **fields: Any
    ) -> tuple[httpx.Response, KnownService]:
        known = service or KnownService(CAPTION)
        chat_door.service.imitate(known)
        body = {"model": "any", "messages": messages or [user(image())]} | fields
        return chat_door.send("POST", PATH, json=body), known

    return call
