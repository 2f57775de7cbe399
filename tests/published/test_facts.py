"""The facts about the published model, held without its weights."""

import ast
import json
import re
from pathlib import Path

import pytest
import torch
from transformers import Kosmos2ForConditionalGeneration

from app.grounding.markup import parse
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.model.loading import expected_tensors
from app.verify.files import read_token_ids
from app.verify.prompts import Material
from app.verify.recording import Recording, entities_of, sha256_of
from harness.checkpoints import full_size_config
from harness.meta_model import describe_checkpoint

pytestmark = pytest.mark.slow  # builds the full model without weights, and loads its tokenizer

TIED = "text_model.lm_head.weight"
EXAMPLE = re.compile(r"print\(processed_text\)\n# `(.*?)`.*?# `(.*?)`.*?# `(.*?)`", re.DOTALL)
ANSWER = re.compile(r"run_example\(prompt\)\n\n# (.*?)\n# (.*?)\n\n# (.*?)\n```", re.DOTALL)


@pytest.fixture(scope="module")
def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the full model of `transformers`, without memory for its weights."""
    with torch.device("meta"):
        model = Kosmos2ForConditionalGeneration(full_size_config())
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def stored_bytes(shapes: dict[str, tuple[int, ...]]) -> int:
    """Return the size of a float32 file of safetensors with these tensors."""
    # The published file names the tied tensor in its metadata instead of storing it twice.
    header: dict[str, object] = {
        "__metadata__": {"format": "pt", TIED: "text_model.model.embed_tokens.weight"}
    }
    end = 0
    for name, shape in sorted(shapes.items()):
        start, end = end, end + 4 * torch.Size(shape).numel()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    length = len(json.dumps(header, separators=(",", ":")))
    return 8 + -(-length // 8) * 8 + end


def test_the_published_model_has_the_recorded_parameters(
    published_shapes: dict[str, tuple[int, ...]], recording: Recording
) -> None:
    assert len(published_shapes) == recording.num_tensors
    sizes = [torch.Size(shape).numel() for shape in published_shapes.values()]
    assert sum(sizes) == recording.num_parameters == 1_664_485_376


def test_the_loader_expects_every_tensor_of_the_published_model(
    published_shapes: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    """Names and shapes of all layers, at full size."""
    checkpoint = describe_checkpoint(tmp_path, full_size_config())
    assert expected_tensors(checkpoint) == published_shapes


def test_the_names_and_shapes_give_the_size_of_the_published_file(
    published_shapes: dict[str, tuple[int, ...]], recording: Recording
) -> None:
    """To the byte: the header lists every name and shape, so another name would change it."""
    assert stored_bytes(published_shapes) == recording.files["model.safetensors"][0]


def test_the_recorded_sequences_are_those_of_transformers_tests(
    shared_kosmos2: Path, recording: Recording, material: Material
) -> None:
    """Ids of prompt and answer, texts, entities and all 36 logits."""
    cases = json.loads((shared_kosmos2 / "recorded_outputs.json").read_text())["cases"]
    ours = [answer for answer in recording.answers if answer.new_token_ids is not None]
    assert sum(len(answer.logits) for answer in ours) == 36
    for case, answer in zip(cases, ours, strict=True):
        assert answer.new_token_ids is not None
        num_new, num_vocabulary = len(answer.new_token_ids), 65_037
        prompt = material.prompts[recording.answers.index(answer)]
        assert case["ids"] == [*prompt.token_ids, *answer.new_token_ids]
        assert (case["text"], case["markup"]) == (answer.text, answer.markup)
        assert entities_of(case["entities"]) == answer.entities
        expected = {
            (step % num_new, token_id % num_vocabulary): value
            for group in case["logits"]
            for step, row in zip(group["steps"], group["values"], strict=True)
            for token_id, value in zip(group["vocabulary"], row, strict=True)
        }
        given = {(step, token_id): value for step, token_id, value in answer.logits}
        assert given == pytest.approx(expected, abs=1e-6)


def test_the_recorded_texts_are_those_of_the_model_card(
    shared_kosmos2: Path, recording: Recording
) -> None:
    """Eight answers: texts, entities with boxes, and markup."""
    card = (shared_kosmos2 / "model_card.md").read_text()
    examples = [(text, entities, markup) for markup, text, entities in EXAMPLE.findall(card)]
    expected = [
        (text, entities_of(ast.literal_eval(entities)), markup)
        for text, entities, markup in examples + ANSWER.findall(card)
    ]
    ours = [answer for answer in recording.answers if "model card" in answer.source]
    assert [(answer.text, answer.entities, answer.markup) for answer in ours] == expected
    assert len(expected) == 8


def test_the_requests_write_the_prompts_of_the_recorded_answers(
    material: Material, recording: Recording
) -> None:
    """The tokens of every prompt begin the recorded markup."""
    for prompt, answer in zip(material.prompts, recording.answers, strict=True):
        markup = material.tokenizer.decode(prompt.token_ids).rpartition("</image>")[2].strip()
        assert answer.markup.startswith(markup)


def test_the_parser_reads_the_recorded_entities(recording: Recording) -> None:
    for answer in recording.answers:
        parsed = parse(answer.markup).cleaned()
        entities = tuple(
            (entity.phrase, entity.span, tuple(box.box for box in entity.boxes))
            for entity in parsed.entities
        )
        assert (parsed.text, entities) == (answer.text, answer.entities)


def test_the_published_tokenizer_has_the_recorded_ids(
    published_layout: Path, recording: Recording, material: Material
) -> None:
    ids = read_token_ids(material.checkpoint, recording.token_ids)
    assert ids == recording.token_ids
    tokenizer = Kosmos2Tokenizer.load(published_layout)
    assert tokenizer.location_token_ids == range(64_013, 65_037)


def test_the_picture_is_the_recorded_one(snowman: Path, recording: Recording) -> None:
    assert sha256_of(snowman) == recording.picture_sha256
