"""Computes predictions for tasks of Label Studio."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from kosmos2_client.async_client import AsyncKosmos2
from kosmos2_client.calls import DetectOptions
from kosmos2_client.conversions import label_studio
from kosmos2_client.errors import InvalidInput, Kosmos2ClientError
from kosmos2_client.http_messages import Endpoint
from kosmos2_client.label_studio.addresses import Addresses
from kosmos2_client.label_studio.config import LabelConfig, read_label_config
from kosmos2_client.label_studio.fetching import Fetcher, FetchLimits
from kosmos2_client.label_studio.tokens import TokenSource
from kosmos2_client.results import Detections
from kosmos2_client.retries import RetryPolicy

Answer = dict[str, Any]


@dataclass(frozen=True)
class BackendOptions:
    """What the command line sets.

    Attributes:
        service_url: of the Kosmos-2 service.
        confidence: least confidence of a box; `None` uses the service's own threshold.
        model_version: Label Studio predicts a task again when it changes.
        timeout_s: for all tasks of a request, in seconds; Label Studio waits for 100.
        concurrency: tasks of a request at the same time.
    """

    service_url: str
    addresses: Addresses
    token: str | None = None
    api_key: str | None = None
    confidence: float | None = None
    model_version: str = label_studio.MODEL_VERSION
    limits: FetchLimits = field(default_factory=FetchLimits)
    timeout_s: float = 90.0
    concurrency: int = 4


class Backend:
    """Predicts tasks. Each call has connections of its own, so threads may share a backend.

    Args:
        transport: of httpx, for tests.

    Raises:
        InvalidUrl: the URL of the service is not one of HTTP.
        InvalidInput: its key has characters that a header cannot hold.
    """

    def __init__(
        self, options: BackendOptions, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        Endpoint(options.service_url, options.api_key)  # reports mistakes before the first task
        self._options, self._transport = options, transport

    @property
    def model_version(self) -> str:
        """The version that predictions have."""
        return self._options.model_version

    def predict(self, tasks: Sequence[Mapping[str, Any]], config_text: str) -> list[Answer]:
        """Return one prediction per task, in their order.

        A task that fails has `error` instead of `result`: Label Studio then stores no prediction,
        whereas an empty result would mean that nothing is in the picture.

        Raises:
            Kosmos2ClientError: the configuration is invalid.
        """
        return asyncio.run(self._predict(tasks, read_label_config(config_text)))

    async def _predict(
        self, tasks: Sequence[Mapping[str, Any]], config: LabelConfig
    ) -> list[Answer]:
        options, permits = self._options, asyncio.Semaphore(self._options.concurrency)
        policy = RetryPolicy(timeout_s=options.timeout_s)
        async with (
            # The environment must not add proxies or passwords to requests with the token.
            httpx.AsyncClient(
                trust_env=False, timeout=options.limits.timeout_s, transport=self._transport
            ) as http,
            AsyncKosmos2(
                options.service_url, options.api_key, policy, transport=self._transport
            ) as client,
        ):
            tokens = TokenSource(options.token, options.addresses)
            fetcher = Fetcher(http, options.addresses, tokens, options.limits)

            async def predict(task: Mapping[str, Any]) -> Answer:
                try:
                    async with asyncio.timeout(options.timeout_s), permits:
                        return await self._predict_task(task, config, fetcher, client)
                except TimeoutError:
                    return {"error": f"took longer than {options.timeout_s:g} s"}
                except Kosmos2ClientError as error:
                    return {"error": str(error)}

            return list(await asyncio.gather(*(predict(task) for task in tasks)))

    async def _predict_task(
        self,
        task: Mapping[str, Any],
        config: LabelConfig,
        fetcher: Fetcher,
        client: AsyncKosmos2,
    ) -> Answer:
        data = task.get("data")
        if not isinstance(data, Mapping):
            raise InvalidInput("the task has no data")
        picture = await fetcher.fetch(data.get(config.data_key), task.get("id"))
        options: DetectOptions = {}
        if self._options.confidence is not None:
            options["confidence"] = self._options.confidence
        answers = [
            (await client.detect(picture, classes, **options)).raw
            for classes in config.labels.requests()
        ]
        found = Detections.from_json(config.labels.combine(answers))
        return label_studio.prediction(
            found.predictions,
            found.image.width,
            found.image.height,
            from_name=config.from_name,
            to_name=config.to_name,
            model_version=self._options.model_version,
        )
