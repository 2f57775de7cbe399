"""Label Studio's tokens: legacy ones are sent as they are, personal ones buy short-lived ones."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from kosmos2_client.errors import InvalidInput
from kosmos2_client.label_studio.addresses import Addresses

_REFRESH_PATH = "/api/token/refresh/"
_MARGIN_S = 30.0
"""A token that ends earlier is renewed, so that it does not end on its way."""

_DEFAULT_LIFE_S = 60.0


class TokenSource:
    """Returns the header that authorizes requests to Label Studio.

    Args:
        token: of the command line; `None` sends no header.
        clock: seconds since 1970, as in tokens.
    """

    def __init__(
        self, token: str | None, addresses: Addresses, clock: Callable[[], float] = time.time
    ) -> None:
        self._token, self._addresses, self._clock = token, addresses, clock
        self._access: tuple[str, float] | None = None

    async def headers(self, client: httpx.AsyncClient) -> dict[str, str]:
        """Return the header `Authorization`, or nothing without a token.

        Raises:
            httpx.HTTPError: Label Studio did not answer.
            InvalidInput: Label Studio rejects the token.
        """
        if self._token is None:
            return {}
        claims = _claims(self._token)
        if claims is None:
            return {"Authorization": f"Token {self._token}"}
        if claims.get("token_type") != "refresh":
            return {"Authorization": f"Bearer {self._token}"}
        if self._access is None or self._access[1] - _MARGIN_S < self._clock():
            self._access = await self._refresh(client)
        return {"Authorization": f"Bearer {self._access[0]}"}

    async def _refresh(self, client: httpx.AsyncClient) -> tuple[str, float]:
        """Return a new token and the time at which it ends."""
        url = self._addresses.of_label_studio(_REFRESH_PATH).url
        response = await client.post(url, json={"refresh": self._token})
        try:
            access = str(response.raise_for_status().json()["access"])
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError):
            raise InvalidInput("Label Studio rejects the personal access token") from None
        end = (_claims(access) or {}).get("exp", self._clock() + _DEFAULT_LIFE_S)
        return access, float(end)


def _claims(token: str) -> dict[str, Any] | None:
    """Return the claims of a JSON Web Token; `None` for another kind of token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None
