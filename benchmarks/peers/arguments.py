"""The command line that all peers share."""

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PeerArguments:
    """The command line of a peer.

    Attributes:
        max_batch_size: requests in one call of `generate`.
    """

    checkpoint: Path
    port: int
    threads: int
    max_batch_size: int


def read_arguments() -> PeerArguments:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-batch-size", type=int, default=32)
    return PeerArguments(**vars(parser.parse_args()))
