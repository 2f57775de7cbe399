"""Makes the embedded checkpoint from nothing: `python -m training.build --out app/demo`.

An interrupted build continues where its last saved state stands (`training/runs/`).
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from app.tokenizer import Kosmos2Tokenizer
from training.data import Packer, TrainingScenes
from training.example_scenes import draw_example_scenes
from training.export import export
from training.model import ModelSize, build_model
from training.tokenizer import MAX_POSITIONS, train_tokenizer
from training.trainer import Lesson, Schedule, Trainer

RUNS = Path(__file__).parent / "runs"
SIZE = ModelSize()
SCHEDULE = Schedule(vision_steps=4000, joint_steps=3500)
NUM_ROWS, ROW_TOKENS = 3, 96


def make_trainer(
    tokenizer: PreTrainedTokenizerFast,
    size: ModelSize,
    schedule: Schedule,
    seed: int,
    state: Path,
    device: str,
) -> Trainer:
    """A trainer at the state that its file holds, or at step 0."""
    torch.manual_seed(seed)
    first_cell = tokenizer.convert_tokens_to_ids("<patch_index_0000>")
    model = build_model(size, len(tokenizer), first_cell, MAX_POSITIONS)
    prefix = Kosmos2Tokenizer(tokenizer).prefix_ids
    # Faster than the fused kernel in bfloat16 on a CPU, and the same to the weights.
    model.set_attn_implementation("eager")
    lesson = Lesson(model, prefix, first_cell, schedule).to(device)
    scenes = {
        is_joint: TrainingScenes(
            seed, size.patches_per_side, Packer(tokenizer, len(prefix), num_rows, ROW_TOKENS)
        )
        for is_joint, num_rows in ((False, 0), (True, NUM_ROWS))
    }
    return Trainer(lesson, scenes, state)


def main() -> None:
    """Read the command line, train, write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("app/demo"), help="where to write it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", default="build", help="name of the state in training/runs")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--vision-steps", type=int, default=SCHEDULE.vision_steps)
    parser.add_argument("--joint-steps", type=int, default=SCHEDULE.joint_steps)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    schedule = replace(SCHEDULE, vision_steps=options.vision_steps, joint_steps=options.joint_steps)
    tokenizer = train_tokenizer(options.seed)
    state = RUNS / f"{options.run}-{options.seed}.pt"
    trainer = make_trainer(tokenizer, SIZE, schedule, options.seed, state, options.device)
    trainer.run(num_workers=options.workers)
    export(trainer.lesson.model, tokenizer, options.out)
    draw_example_scenes(options.out / "scenes")


if __name__ == "__main__":
    main()
