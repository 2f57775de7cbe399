"""An engine without a server."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from time import monotonic

import psutil
import pytest

from app.checkpoint.files import open_checkpoint
from app.checkpoint.picture_size import PICTURE_BYTES
from app.errors import Unavailable
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import SamplingParameters
from app.settings import EMBEDDED_CHECKPOINT, Settings
from app.supervisor.engine_keeper import EXIT_KILLED
from app.supervisor.lone_engine import EngineNotReady, running_engine
from harness.requests import prompt_of


def test_requests_of_an_engine_that_died_raise_unavailable(endless_checkpoint: Path) -> None:
    """`kosmos2 ground` has no supervisor that would restart it."""
    settings = Settings(model=str(endless_checkpoint), slots=1)
    tokenizer = Kosmos2Tokenizer.load(EMBEDDED_CHECKPOINT)
    prompt = prompt_of(tokenizer, "<grounding> An image of", bytes(PICTURE_BYTES))
    sampling = SamplingParameters(max_new_tokens=400)

    async def run() -> None:
        async with (
            running_engine(settings, open_checkpoint(settings.model)) as engine,
            aclosing(engine.generate(prompt, sampling, monotonic() + 600)) as generated,
        ):
            await anext(generated)
            children = psutil.Process().children()
            next(child for child in children if "app.engine.process" in child.cmdline()).kill()
            with pytest.raises(Unavailable):
                async for _ in generated:
                    pass

    asyncio.run(run())


def test_an_engine_that_ends_before_it_is_ready_is_an_error() -> None:
    """Even if it ends without one: the command would wait for answers."""
    settings = Settings()

    async def run() -> None:
        async with running_engine(settings, open_checkpoint(settings.model), "app.errors"):
            pass

    with pytest.raises(EngineNotReady, match="did not start") as caught:
        asyncio.run(run())
    assert caught.value.exit_code == EXIT_KILLED
