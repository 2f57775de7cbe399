"""The exported checkpoint loads in plain `transformers` and has the service's settings."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedTokenizerFast

import app.demo
from app.grounding.markup import write_object
from training.answering import Answerer
from training.example_scenes import draw_example_scenes, example_scenes
from training.export import export
from training.model import ModelSize, build_model
from training.tokenizer import train_tokenizer

TINY = ModelSize(
    patch_size=32,
    vision_width=32,
    vision_layers=1,
    text_width=32,
    text_layers=1,
    vision_heads=1,
    text_heads=1,
)
EMBEDDED = Path(app.demo.__file__).parent


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = train_tokenizer(seed=0, num_scenes=50, num_pieces=400)
    first_cell = tokenizer.convert_tokens_to_ids("<patch_index_0000>")
    directory = tmp_path_factory.mktemp("checkpoint")
    export(build_model(TINY, len(tokenizer), first_cell), tokenizer, directory)
    return directory


@pytest.mark.parametrize("directory", ["tiny", "embedded"])
def test_transformers_loads_model_and_processor(checkpoint, directory):
    """The checkpoint can be used without this project."""
    path = EMBEDDED if directory == "embedded" else checkpoint
    model = AutoModelForImageTextToText.from_pretrained(path)
    processor = AutoProcessor.from_pretrained(path, backend="pil")
    picture = Image.new("RGB", (300, 200), "grey")
    inputs = processor(text="<grounding> An image of", images=picture, return_tensors="pt")
    assert model.dtype == torch.float16
    assert type(model).__name__ == "Kosmos2ForConditionalGeneration"
    assert inputs["pixel_values"].shape == (1, 3, 224, 224)
    assert inputs["image_embeds_position_mask"].sum() == model.config.latent_query_num
    assert len(PreTrainedTokenizerFast.from_pretrained(path)) == model.config.text_config.vocab_size


@pytest.mark.parametrize("directory", ["tiny", "embedded"])
def test_repeated_ngrams_are_allowed(checkpoint, directory):
    """The right answer to `two circles, one ring` repeats three tokens in a row."""
    path = EMBEDDED if directory == "embedded" else checkpoint
    settings = json.loads((path / "generation_config.json").read_text())
    assert settings["no_repeat_ngram_size"] == 0
    assert settings["do_sample"] is False


@pytest.mark.slow
def test_an_answerer_accepts_any_mixture_of_prompts(checkpoint):
    """The answers are in the order of the prompts, for all lengths."""
    answerer = Answerer(checkpoint)
    embeddings = answerer.see([Image.new("RGB", (50, 80), colour) for colour in ("red", "blue")])
    prompts = [
        (0, "<grounding> An image of"),
        (1, f"<grounding><phrase> It</phrase>{write_object([(0, 99)])} is"),
        (1, "<grounding> An image of"),
    ]
    together = answerer.answer(embeddings, prompts)
    for prompt, answer in zip(prompts, together, strict=True):
        assert answerer.answer(embeddings, [prompt])[0].parsed == answer.parsed
        assert answer.parsed.markup.startswith(prompt[1])


def test_example_scenes_contain_the_objects_in_their_names(tmp_path):
    draw_example_scenes(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(example_scenes())
    assert names == sorted(path.name for path in (EMBEDDED / "scenes").iterdir())
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (example_scenes()[name].width, example_scenes()[name].height)
    circles = example_scenes()["two_red_circles_and_blue_square.jpg"].objects
    assert sorted(thing.kind for thing in circles) == [
        ("blue", "square"),
        ("red", "circle"),
        ("red", "circle"),
    ]


def test_the_embedded_weights_are_small():
    assert (EMBEDDED / "model.safetensors").stat().st_size < 30e6
