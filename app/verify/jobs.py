"""Jobs for the processes that import torch: `kosmos2 verify` itself must not, like all commands."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.errors import StartupError
from app.ipc.engine_messages import Generate, SamplingParameters
from app.ipc.sampling_limits import DEFAULT_MAX_NEW_TOKENS
from app.settings import without_settings


@dataclass(frozen=True)
class Prompt:
    """A greedy request.

    Attributes:
        token_ids: the whole prompt, including the picture's tokens.
        picture: index in `Job.pictures`.
        expected_ids: the tokens to compare with; `None` if they are not known.
        logits: steps and token ids of the logits to return.
    """

    token_ids: Sequence[int]
    picture: int
    ngram_size: int
    expected_ids: Sequence[int] | None
    logits: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Job:
    """Prompts to answer with a checkpoint.

    Attributes:
        directory: of the checkpoint.
        device: `cpu` or `cuda`.
        dtype: name of the dtype, such as `float32`.
        pictures: 224×224×3 bytes each.
    """

    directory: Path
    device: str
    dtype: str
    pictures: Sequence[bytes]
    prompts: Sequence[Prompt]

    def generate_of(self, key: int) -> tuple[Generate, bytes]:
        """Return a prompt as the engine receives it, and its picture."""
        prompt = self.prompts[key]
        pixels = self.pictures[prompt.picture]
        sampling = SamplingParameters(DEFAULT_MAX_NEW_TOKENS, prompt.ngram_size)
        digest = hashlib.sha256(pixels).digest()
        return Generate(0, key, list(prompt.token_ids), digest, sampling, float("inf")), pixels


@dataclass(frozen=True)
class Output:
    """The tokens of an answer.

    Attributes:
        logits: values at `Prompt.logits`; NaN for steps that the answer does not have.
        tie: difference of the logits of the chosen and the expected token where they first differ;
            `None` if they do not.
    """

    new_token_ids: tuple[int, ...]
    logits: tuple[float, ...]
    tie: float | None = None


@dataclass(frozen=True)
class EngineOutputs:
    """Answers of the engine.

    Attributes:
        alone: one answer per prompt, each computed alone.
        batch: answers of one batch that has every prompt, and the first ones twice.
    """

    alone: tuple[Output, ...]
    batch: tuple[Output, ...]


def run_engine(job: Job) -> EngineOutputs:
    """Answer the prompts with this project's engine, alone and in a batch.

    Raises:
        StartupError: the engine cannot run.
    """
    result = _run("app.verify.engine_side", _encode(job))
    return EngineOutputs(_outputs(result["alone"]), _outputs(result["batch"]))


def run_reference(job: Job) -> tuple[Output, ...]:
    """Answer the prompts with `generate` of `transformers`, each alone.

    Raises:
        StartupError: the model cannot be loaded.
    """
    return _outputs(_run("app.verify.reference_side", _encode(job))["alone"])


def describe(directory: Path) -> dict[str, Any]:
    """Return the tensors that the loader expects, the devices and the versions.

    Raises:
        StartupError: the configuration is not supported.
    """
    result: dict[str, Any] = _run("app.verify.structure", {"directory": str(directory)})
    return result


def answer_jobs(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Read a job from standard input and print its result, in the child process."""
    try:
        result = answer(json.load(sys.stdin))
    except (StartupError, RuntimeError, OSError, LookupError, ValueError) as error:  # no crash
        result = {"error": str(error).partition("\n")[0] or type(error).__name__}
    print(json.dumps(result))


def read_job(content: dict[str, Any]) -> Job:
    """Return the job of a child process."""
    return Job(
        Path(content["directory"]),
        content["device"],
        content["dtype"],
        [base64.b64decode(picture) for picture in content["pictures"]],
        [Prompt(**prompt) for prompt in content["prompts"]],
    )


def _encode(job: Job) -> dict[str, Any]:
    pictures = [base64.b64encode(picture).decode() for picture in job.pictures]
    return asdict(job) | {"directory": str(job.directory), "pictures": pictures}


def _run(module: str, job: dict[str, Any]) -> dict[str, Any]:
    """Run a module with a job on its standard input; its standard error is shown.

    Raises:
        StartupError: it reports an error or ends without a result.
    """
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", module],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=without_settings(os.environ),
        start_new_session=True,  # a terminal's Ctrl-C reaches the parent only, which kills the job
    )
    if done.returncode:
        raise StartupError(f"{module} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    if "error" in result:
        raise StartupError(result["error"])
    return result


def _outputs(content: Sequence[dict[str, Any]]) -> tuple[Output, ...]:
    return tuple(
        Output(tuple(output["new_token_ids"]), tuple(output["logits"]), output["tie"])
        for output in content
    )
