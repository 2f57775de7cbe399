"""Fetches pictures of tasks, within limits of size and time."""

import asyncio
from dataclasses import dataclass

import httpx

from kosmos2_client.errors import ConnectionFailed, InvalidInput
from kosmos2_client.label_studio.addresses import Address, Addresses
from kosmos2_client.label_studio.tokens import TokenSource

_MAX_REDIRECTS = 3
_PLAIN = {"Accept-Encoding": "identity"}
"""Compressed bodies would have to be limited after their decompression."""


@dataclass(frozen=True)
class FetchLimits:
    """Limits of a picture.

    Attributes:
        max_bytes: of the file.
        timeout_s: from the request to the last byte, redirects included, in seconds.

    Raises:
        InvalidInput: a limit is not positive.
    """

    max_bytes: int = 20_000_000
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if not (self.max_bytes > 0 and self.timeout_s > 0):  # also for NaN
            raise InvalidInput("--max-picture-bytes and --picture-timeout must be more than 0")


class Fetcher:
    """Fetches pictures with one HTTP client.

    Args:
        client: must not follow redirects itself.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        addresses: Addresses,
        tokens: TokenSource,
        limits: FetchLimits,
    ) -> None:
        self._client, self._addresses = client, addresses
        self._tokens, self._limits = tokens, limits

    async def fetch(self, value: object, task_id: object) -> bytes:
        """Return the file of a task's picture.

        Args:
            value: of the task's data.

        Raises:
            InvalidInput: the address is not allowed, or the file is too large.
            ConnectionFailed: it cannot be fetched in time.
        """
        address = self._addresses.of_picture(value, task_id)
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                headers = await self._tokens.headers(self._client) if address.sends_token else {}
                return await self._fetch(address, headers)
        except TimeoutError:
            message = f"the picture took longer than {self._limits.timeout_s:g} s"
            raise ConnectionFailed(message) from None
        except httpx.HTTPError as error:
            raise ConnectionFailed(f"the picture cannot be fetched: {error}") from None

    async def _fetch(self, address: Address, headers: dict[str, str]) -> bytes:
        for _ in range(_MAX_REDIRECTS + 1):
            request = self._client.build_request("GET", address.url, headers=_PLAIN | headers)
            response = await self._client.send(request, stream=True)
            try:
                if not response.has_redirect_location:
                    return await self._read(response)
                location = response.headers["Location"]
            finally:
                await response.aclose()
            # The token stays here: the target may be another host, or log what it receives.
            headers = {}
            try:
                address = self._addresses.check(address.url.join(location))
            except httpx.InvalidURL:
                raise InvalidInput("the picture redirects to no URL") from None
        raise InvalidInput(f"the picture redirects more than {_MAX_REDIRECTS} times")

    async def _read(self, response: httpx.Response) -> bytes:
        if response.status_code != httpx.codes.OK:
            raise ConnectionFailed(f"the picture's host answers with {response.status_code}")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise InvalidInput("the picture's host compresses the file")
        content = bytearray()
        async for part in response.aiter_bytes():
            content += part
            if len(content) > self._limits.max_bytes:
                raise InvalidInput(f"the picture is larger than {self._limits.max_bytes:,} bytes")
        return bytes(content)
