"""An engine that answers at once, to measure the HTTP processes without a model.

    python -m benchmarks.instant_engine RUN_DIRECTORY

It uses the engine's protocol (app/ipc/engine_messages.py) and, like the engine, sends one token of
every request in each round. Standard input is the pipe from its parent.
"""

import os
import sys
from collections import defaultdict
from itertools import islice
from pathlib import Path

import zmq

from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.child_process import report_ready
from app.ipc.engine_messages import Cancel, NewToken, NewTokens, decode_to_engine, encode
from app.ipc.run_directory import RunDirectory
from app.ipc.shared_state import EngineFacts

SLOTS = 64
MAX_WAITING = 256

ANSWER = (
    "<phrase> a red circle</phrase><object><patch_index_0289><patch_index_0649></object>"
    " and<phrase> a blue square</phrase><object><patch_index_0332><patch_index_0691></object>."
)
"""An answer of medium length, which every request gets."""

Name = tuple[bytes, int]
"""An HTTP process and the key of one of its requests."""


class InstantEngine:
    """Sends the answer's tokens to every request, one token per round.

    Args:
        socket: a bound ROUTER socket.
        token_ids: of the answer, including its end token.
    """

    def __init__(self, socket: "zmq.Socket[bytes]", token_ids: list[int], epoch: int) -> None:
        self._socket, self._token_ids, self._epoch = socket, token_ids, epoch
        self._num_sent: dict[Name, int] = {}

    def serve(self, parent_pipe: int) -> None:
        """Answer until the parent's pipe closes."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(parent_pipe, zmq.POLLIN)
        # Block only while there is nothing to send.
        while parent_pipe not in dict(poller.poll(0 if self._num_sent else None)):
            while self._socket.poll(0):
                client, message, *_ = self._socket.recv_multipart()
                self._accept(client, message)
            self._send_round()

    def _accept(self, client: bytes, frame: bytes) -> None:
        message = decode_to_engine(frame)
        if isinstance(message, Cancel):
            self._num_sent.pop((client, message.key), None)
        else:
            self._num_sent[client, message.key] = 0

    def _send_round(self) -> None:
        by_client: dict[bytes, list[NewToken]] = defaultdict(list)
        # At most one token for each slot, as a step of the engine.
        for name in list(islice(self._num_sent, SLOTS)):
            by_client[name[0]].append(self._next_token(name))
        for client, tokens in by_client.items():
            self._socket.send_multipart([client, encode(NewTokens(self._epoch, tokens))])

    def _next_token(self, name: Name) -> NewToken:
        index = self._num_sent[name]
        is_last = index + 1 == len(self._token_ids)
        if is_last:
            del self._num_sent[name]
        else:
            self._num_sent[name] = index + 1
        reason = "stop" if is_last else None
        return NewToken(name[1], self._token_ids[index], -0.1, reason, 0.0, 0)  # type: ignore[arg-type]


def main() -> None:
    """Serve in the run directory given on the command line."""
    run_directory = RunDirectory(Path(sys.argv[1]))
    state = run_directory.open_state()
    tokenizer = Kosmos2Tokenizer.load(run_directory.read_checkpoint().directory)
    prefix = len(tokenizer.prefix_ids)
    token_ids = [*tokenizer.encode_prompt(ANSWER)[prefix:], tokenizer.eos_id]
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(run_directory.engine_endpoint)
        state.mark_engine_ready(EngineFacts(SLOTS, MAX_WAITING, "cpu", "none"))
        # Without a limit: this engine never stamps again, and must not count as stuck.
        state.stamp(0.0, float("inf"))
        report_ready()
        InstantEngine(socket, token_ids, state.epoch).serve(sys.stdin.fileno())


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
