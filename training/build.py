"""Trains the embedded checkpoint from scratch: `python -m training.build --out app/demo`.

An interrupted build continues from its last saved state (in `training/runs/`).
"""

import argparse
import logging
import os
import sys
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import PreTrainedTokenizerFast

from training.command_line import check_output, device, errors_in_one_line, positive
from training.data import Packer, TrainingScenes
from training.example_scenes import draw_example_scenes
from training.export import export
from training.model import ModelSize, build_model
from training.team import Team
from training.tokenizer import MAX_POSITIONS, as_served, encode, train_tokenizer
from training.trainer import ALONE, Lesson, Schedule, Trainer
from training.world import COLOURS, SHAPES

RUNS = Path(__file__).parent / "runs"
SIZE = ModelSize()
ON_CPU = Schedule(vision_steps=3500, joint_steps=4000)
"""An hour on two cores."""
ON_GPU = Schedule(
    vision_steps=2000,
    joint_steps=5713,
    cooldown_steps=2500,
    batch_size=64,
    learning_rate=2e-3,
    warmup_steps=300,
)
"""Of the committed weights: eight minutes on one H200 with 10 to 16 processors, which draw."""
# Three short rows cost less attention than one row of 320 (docs/embedded-checkpoint.md).
NUM_ROWS, ROW_TOKENS = 3, 96


def make_trainer(
    tokenizer: PreTrainedTokenizerFast,
    size: ModelSize,
    schedule: Schedule,
    seed: int,
    state: Path,
    device: str = "cpu",
    team: Team = ALONE,
) -> Trainer:
    """Return a trainer at the state in its file, or at step 0 without a file."""
    torch.manual_seed(seed)
    first_cell = tokenizer.convert_tokens_to_ids("<patch_index_0000>")
    model = build_model(size, len(tokenizer), first_cell, MAX_POSITIONS)
    prefix = as_served(tokenizer).prefix_ids
    # Eager attention is faster than the fused kernel in bfloat16 on a CPU and gives equal weights.
    model.set_attn_implementation("eager")
    kind_words = [encode(tokenizer, f" {word}")[-1] for word in (*COLOURS, *SHAPES)]
    lesson = Lesson(model, prefix, kind_words, first_cell, schedule).to(device)
    scenes = {
        is_joint: TrainingScenes(
            seed,
            size.patches_per_side,
            Packer(tokenizer, len(prefix), num_rows, ROW_TOKENS),
        )
        # Stage 1 learns from pictures alone, without questions.
        for is_joint, num_rows in ((False, 0), (True, NUM_ROWS))
    }
    return Trainer(lesson, scenes, state, team)


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    out: Path
    seed: int
    run: str
    device: str
    processes: int
    workers: int
    schedule: Schedule

    @property
    def state(self) -> Path:
        """The file that an interrupted build continues from."""
        return RUNS / f"{self.run}-{self.seed}.pt"


def read_options() -> Options:
    """Read the command line."""
    has_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("app/demo"), help="output folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", default="build", help="name of the state in training/runs")
    parser.add_argument("--device", type=device, default="cuda" if has_gpu else "cpu")
    # On layers this small, two processes wait less than two threads of one process.
    parser.add_argument("--processes", type=positive, default=1 if has_gpu else 2)
    # A GPU learns faster than one processor draws.
    workers = max(1, (os.cpu_count() or 1) - 2) if has_gpu else 1
    parser.add_argument("--workers", type=int, default=workers, help="processes that draw scenes")
    parser.add_argument(
        "--vision-steps", type=positive, help="default: 2000 on a GPU, 3500 without"
    )
    parser.add_argument("--joint-steps", type=positive, help="default: 5713 on a GPU, 4000 without")
    given = parser.parse_args()
    usual = ON_CPU if given.device == "cpu" else ON_GPU
    schedule = replace(
        usual,
        vision_steps=given.vision_steps or usual.vision_steps,
        joint_steps=given.joint_steps or usual.joint_steps,
    )
    return Options(
        given.out, given.seed, given.run, given.device, given.processes, given.workers, schedule
    )


def build(rank: int, options: Options, meeting_point: Path) -> None:
    """Train as one of several processes; the leader writes the checkpoint."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // options.processes))
    team = Team(rank, options.processes)
    team.join(meeting_point)
    tokenizer = train_tokenizer(options.seed)
    trainer = make_trainer(
        tokenizer, SIZE, options.schedule, options.seed, options.state, options.device, team
    )
    trainer.run(num_workers=options.workers)
    team.leave()
    if team.is_leader:
        export(trainer.lesson.model, tokenizer, options.out)
        draw_example_scenes(options.out / "scenes")


def main() -> None:
    """Build with the number of processes given on the command line."""
    options = read_options()
    with errors_in_one_line():
        check_output(options.out / "config.json")
    # A forked process would inherit the locks of threads that it does not have.
    context = get_context("spawn")
    with TemporaryDirectory() as directory:
        meeting_point = Path(directory) / "meeting-point"
        processes = [
            context.Process(target=build, args=(rank, options, meeting_point))
            for rank in range(options.processes)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    sys.exit(any(process.exitcode for process in processes))


if __name__ == "__main__":
    main()
