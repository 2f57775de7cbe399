"""Decides which addresses of pictures the backend may fetch, and where the token may be sent.

Addresses are in tasks, which other people write. The backend stands in a network that these people
may not reach, and has a token. So it only fetches from Label Studio and from hosts that its command
line names.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

from kosmos2_client.errors import InvalidInput
from kosmos2_client.http_messages import MAX_PORT

_PORTS = {"http": 80, "https": 443}
_CLOUD = ("s3:", "gs:", "azure-blob:")
"""Addresses that Label Studio itself turns into ones that can be fetched."""

_PICTURE_PATHS = ("/data/", "/storage-data/", "/tasks/")
"""Paths of Label Studio that need the token. A task must not send it to others, which may act."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True)
class Address:
    """An address that may be fetched.

    Attributes:
        sends_token: whether it is one of Label Studio's addresses of pictures.
    """

    url: httpx.URL
    sends_token: bool


class Addresses:
    """The addresses that may be fetched.

    Args:
        label_studio: base URL of Label Studio.
        allowed_hosts: other hosts, as `host` or `host:port`.

    Raises:
        InvalidInput: the base URL is not one of HTTP, or a host is not one.
    """

    def __init__(self, label_studio: str, allowed_hosts: Sequence[str] = ()) -> None:
        self._base = label_studio.rstrip("/")
        base = _parse(label_studio)
        self._origin, self._base_path = _origin_of(base), base.path.rstrip("/")
        self._allowed = {_host_of(text) for text in allowed_hosts}

    def of_label_studio(self, path: str) -> Address:
        """Return the address of a path that starts with `/`."""
        return self.check(_parse(self._base + path))

    def of_picture(self, value: object, task_id: object) -> Address:
        """Return the address of a task's picture.

        Args:
            value: of the task's data: a path of Label Studio, an address, or one of a cloud storage
                that the project has.
            task_id: of the task.

        Raises:
            InvalidInput: it is not an address, or its host is not allowed.
        """
        if not isinstance(value, str) or not value:
            raise InvalidInput("the task has no address of a picture")
        if value.startswith(_CLOUD):
            if not isinstance(task_id, int):
                raise InvalidInput("a picture in a cloud storage needs the id of its task")
            encoded = base64.urlsafe_b64encode(value.encode()).decode()
            return self.of_label_studio(f"/tasks/{task_id}/presign/?fileuri={encoded}")
        if value.startswith("/"):
            return self.of_label_studio(value)
        return self.check(_parse(value))

    def check(self, url: httpx.URL) -> Address:
        """Return a whole address, if it may be fetched.

        Raises:
            InvalidInput: its host is not allowed.
        """
        scheme, host, port = origin = _origin_of(url)
        if origin == self._origin:
            return Address(url, self._is_picture(url.path))
        allowed_port = None if port == _PORTS[scheme] else port
        if not {(host, port), (host, allowed_port)} & self._allowed:
            raise InvalidInput(f"{host}:{port} is not allowed: start with --allow-host {host}")
        return Address(url, sends_token=False)

    def _is_picture(self, path: str) -> bool:
        """Return whether a decoded path of Label Studio is one of a picture."""
        below = path.removeprefix(self._base_path)
        return below.startswith(_PICTURE_PATHS) and ".." not in path.split("/")


def _parse(text: str) -> httpx.URL:
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise InvalidInput("not a URL") from None


def _host_of(text: str) -> tuple[str, int | None]:
    """Return host and port; the port is `None` if the text has none."""
    url = _parse(f"allowed://{text}")  # httpx drops the default ports of schemes that it knows
    if url.userinfo or url.path.strip("/") or url.query or url.fragment or not _decoded_host(url):
        raise InvalidInput(f"{text!r} must be host or host:port")
    return _decoded_host(url), url.port


def _origin_of(url: httpx.URL) -> Origin:
    host = _decoded_host(url)
    if url.scheme not in _PORTS or not host or url.userinfo:
        raise InvalidInput("only addresses of http and https without a user name are allowed")
    port = url.port or _PORTS[url.scheme]
    if port > MAX_PORT:
        raise InvalidInput(f"a port is at most {MAX_PORT}")
    return url.scheme, host, port


def _decoded_host(url: httpx.URL) -> str:
    try:
        return url.host.lower()
    except ValueError:  # an international name that is invalid
        raise InvalidInput("not a URL") from None
