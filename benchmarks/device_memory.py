"""Frees the memory of a device between measurements."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def and_free(work: Callable[[], Result]) -> Result:
    """Return the result of `work` after freeing the memory that it used.

    Models are part of reference cycles, and variables inside `work` refer to them. They can only be
    collected after `work` has returned.
    >>> and_free(lambda: 7)
    7
    """
    result = work()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return result
