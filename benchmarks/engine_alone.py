"""Sends requests to the engine without HTTP, and prints the time of each answer.

    python -m benchmarks.engine_alone PICTURES REQUESTS

The requests are those of `benchmarks.workloads.different_pictures(PICTURES)`, in rotation.
"""

import asyncio
import json
import sys
from time import monotonic

from app.bench.workload import LoadRequest
from app.checkpoint.files import open_checkpoint
from app.commands.offline import Call, answer_all
from app.contract.request_models import GroundBody
from app.contract.text_fields import fields_of_texts
from app.contract.validation import validate
from app.grounding.answers import Answer
from app.settings import EMBEDDED_CHECKPOINT, Settings
from benchmarks.workloads import different_pictures


def main() -> None:
    """Answer all requests, with as many at once as the engine has slots."""
    num_pictures, num_requests = (int(argument) for argument in sys.argv[1:])
    workload = [_to_call(request) for request in different_pictures(num_pictures)]
    calls = [workload[number % num_pictures] for number in range(num_requests)]
    # Without a cache, as the service that this is compared with.
    settings = Settings(model=str(EMBEDDED_CHECKPOINT), picture_cache_bytes=0)
    checkpoint, times = open_checkpoint(settings.model), list[float]()
    asyncio.run(answer_all(settings, checkpoint, calls, lambda *_: times.append(monotonic())))
    print(json.dumps(times))


def _to_call(load: LoadRequest) -> Call[Answer]:
    """Convert a form to a request, as the service does."""
    body = validate(GroundBody, fields_of_texts(load.fields), strict=False)
    request = body.to_request(load.picture)
    return lambda service, context: service.ground(request, context)


if __name__ == "__main__":
    main()
