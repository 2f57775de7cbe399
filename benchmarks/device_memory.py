"""The memory of a device between measurements: all of it free again."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def and_free(work: Callable[[], Result]) -> Result:
    """The result of `work`, once the memory that it took is free.

    Models hang in reference cycles, and inside `work` its variables still hold them: so only after
    it has returned can they be collected.

    >>> and_free(lambda: 7)
    7
    """
    result = work()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return result
