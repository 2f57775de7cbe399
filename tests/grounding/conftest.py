"""The tokenizers of the published model and of the embedded checkpoint."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from app.grounding.tokenizer import Kosmos2Tokenizer
from app.settings import EMBEDDED_CHECKPOINT


@pytest.fixture(
    scope="module", params=[pytest.param("published", marks=pytest.mark.slow), "embedded"]
)
def directory(request: pytest.FixtureRequest) -> Path:
    """The tokenizer of the published model and that of the embedded checkpoint."""
    if request.param == "published":
        shared: Path = request.getfixturevalue("shared_kosmos2")
        return shared / "processor"
    return EMBEDDED_CHECKPOINT


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Kosmos2Tokenizer:
    return Kosmos2Tokenizer.load(directory)


@pytest.fixture(scope="module")
def vocabulary(directory: Path) -> dict[str, int]:
    """The id of every token, including tags and bytes."""
    ids: dict[str, int] = Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab()
    return ids


@pytest.fixture(scope="module")
def processor(directory: Path) -> Any:
    from transformers import Kosmos2Processor

    return Kosmos2Processor.from_pretrained(directory)


@pytest.fixture(scope="module")
def published(shared_kosmos2: Path) -> Kosmos2Tokenizer:
    return Kosmos2Tokenizer.load(shared_kosmos2 / "processor")
