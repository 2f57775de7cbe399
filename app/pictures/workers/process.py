"""Runs a picture process: reads jobs from standard input, writes results to standard output.

    python -m app.pictures.workers.process MAX_PIXELS LOG_LEVEL LOG_FORMAT

The process exits at the end of its input, or when a picture exceeds the `limits`.
"""

import os
import sys
import warnings
from typing import cast

from app.errors import InvalidImage, RequestError
from app.ipc.start_child import start_collecting
from app.pictures import heic
from app.pictures.cut import cut_tiles
from app.pictures.decode import decode_picture
from app.pictures.drawing.annotator import Annotator
from app.pictures.preload import preload
from app.pictures.workers.confinement import confine
from app.pictures.workers.limits import limit_memory, limit_processor_time
from app.pictures.workers.messages import (
    Abilities,
    Cut,
    Decode,
    DecodedPicture,
    DecodedTiles,
    Describe,
    DrawnPicture,
    Job,
    Refusal,
    Result,
    read_job,
    to_frame,
)
from app.telemetry.logs import LogFormat, configure_logs


def perform(job: Job, max_pixels: int, annotator: Annotator, abilities: Abilities) -> Result:
    """Return the result of a job."""
    if isinstance(job, Describe):
        return abilities
    try:
        if isinstance(job, Decode):
            return _decode(job, max_pixels)
        if isinstance(job, Cut):
            return DecodedTiles(cut_tiles(job.image, job.tiles, max_pixels=max_pixels))
        file = annotator.annotate(job.image, job.marks, job.media_type, job.box_format)
        return DrawnPicture(file)
    except RequestError as error:
        return Refusal(type(error).__name__, str(error))
    except MemoryError:
        return Refusal(InvalidImage.__name__, "the picture needs more memory than the limit")


def _decode(job: Decode, max_pixels: int) -> DecodedPicture:
    picture = decode_picture(job.image, max_pixels=max_pixels, jpeg_round_trip=job.jpeg_round_trip)
    return DecodedPicture(picture.width, picture.height, picture.exif_orientation, picture.pixels)


def silence_native_code() -> None:
    """Discard the output of decoders in C about users' pictures; our own log keeps its stream."""
    sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def main() -> None:
    """Perform jobs until the input ends."""
    max_pixels = int(sys.argv[1])
    silence_native_code()
    level, log_format = sys.argv[2], cast(LogFormat, sys.argv[3])
    configure_logs(level, "pictures", log_format)
    # Pillow warns about damaged metadata in users' pictures, which operators cannot fix.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    limit_memory(max_pixels)
    annotator = Annotator(max_pixels)
    preload(annotator)
    start_collecting()
    confinement = confine()
    abilities = Abilities(heic.OBSTACLE is None, confinement.landlock, confinement.seccomp)
    while (job := read_job(sys.stdin.buffer)) is not None:
        limit_processor_time()
        result = to_frame(perform(job, max_pixels, annotator, abilities))
        try:
            sys.stdout.buffer.write(result)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the parent has ended; Python's own flush at exit would fail again
            os._exit(0)


if __name__ == "__main__":
    main()
