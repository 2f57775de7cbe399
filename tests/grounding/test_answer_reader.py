"""Answers read token by token equal the whole answers of `transformers` and the parser."""

import math
import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from app.checkpoint.calibration import UNCALIBRATED, Calibration
from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import AnswerEvent, GroundedText, ImageFacts, NewEntity, NewText
from app.grounding.markup import END_OF_IMAGE, parse, parse_markup
from app.grounding.markup_stream import find_answer
from app.grounding.space_cleaner import clean_up_spaces
from app.grounding.tasks import TASKS, Region, write_prompt
from app.grounding.token_decoder import TokenDecoder
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import LocationDistribution, NewToken
from app.pictures.marks import scale_box
from training.examples import examples_of
from training.world import plan_scene

EMBEDDED = Path(__file__).parents[2] / "app" / "demo"
IMAGE = ImageFacts(640, 480, 1)
OBJECT = "<phrase> ▁a ▁red ▁dog </phrase> <object> <patch_index_0044> <patch_index_0863> </object>"
NAMES = [
    "<phrase>",
    "</phrase>",
    "<object>",
    "</object>",
    "</delimiter_of_multi_objects/>",
    "<grounding>",
    "<image>",
    "</image>",
    "</s>",
    "<pad>",
    "<unk>",
    "<mask>",
    "<patch_index_0044>",
    "<patch_index_0863>",
    "<patch_index_0005>",
    "<",
    "▁<",
    ">",
    "▁>",
    "</",
    "▁",
    ".",
    ",",
    "?",
    "!",
    "'",
    "▁.",
    "▁,",
    "▁?",
    "▁!",
    "▁'",
    "'s",
    "▁'s",
    "▁n",
    "t",
    "▁n't",
    "▁'re",
    "▁ve",
    "s",
    "re",
    "ve",
    "m",
    "n",
    "a",
    "▁a",
    "▁dog",
    "▁red",
    "é",
    "<0xC3>",
    "<0xA9>",
    "<0xE2>",
    "<0x96>",
    "<0x81>",
    "<0xFF>",
    "<0x0A>",
    "<0x20>",
    "<0x2E>",
    "<0x3C>",
    "<0x3E>",
]
PROMPTS = (
    "<grounding> An image of",
    "<grounding><phrase> a red dog</phrase>",
    "<grounding><phrase> It</phrase><object><patch_index_0044><patch_index_0863></object> is",
    "<grounding><phrase> It</phrase><object><patch_index_0044>",
    "Isn't it n'",
    "Is a < b",
    "Is a < b <phrase> c",
    "<",
)


@pytest.fixture(
    scope="module", params=[pytest.param("published", marks=pytest.mark.slow), "embedded"]
)
def directory(request: pytest.FixtureRequest) -> Path:
    """The tokenizer of the published model and that of the embedded checkpoint."""
    if request.param == "published":
        shared: Path = request.getfixturevalue("shared_kosmos2")
        return shared / "processor"
    if not (EMBEDDED / "tokenizer.json").is_file():
        pytest.skip("the embedded checkpoint is not built: python -m training.build")
    return EMBEDDED


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Kosmos2Tokenizer:
    return Kosmos2Tokenizer.load(directory)


@pytest.fixture(scope="module")
def vocabulary(directory: Path) -> dict[str, int]:
    """The id of every token, including tags and bytes."""
    ids: dict[str, int] = Tokenizer.from_file(str(directory / "tokenizer.json")).get_vocab()
    return ids


def ids_of(vocabulary: dict[str, int], names: str) -> list[int]:
    """Return the ids of tokens; tokens that the vocabulary lacks are omitted."""
    return [vocabulary[name] for name in names.split() if name in vocabulary]


def sequences(vocabulary: dict[str, int]) -> st.SearchStrategy[list[int]]:
    """Generate difficult sequences of token ids, including ids without a token."""
    known = st.sampled_from([[vocabulary[name]] for name in NAMES if name in vocabulary])
    whole_object = st.just(ids_of(vocabulary, OBJECT))
    any_token = st.integers(0, len(vocabulary) + 3).map(lambda token_id: [token_id])
    parts = st.lists(known | known | whole_object | any_token, min_size=1, max_size=14)
    return parts.map(lambda lists: [token_id for ids in lists for token_id in ids])


def read(
    tokenizer: Kosmos2Tokenizer, prompt_ids: list[int], new_ids: list[int]
) -> tuple[list[list[AnswerEvent]], GroundedText]:
    """Return the events of each token, and the whole answer."""
    reader = AnswerReader(tokenizer, prompt_ids, IMAGE)
    events_by_token = [
        reader.read(NewToken(0, token_id, -0.01 * number, reason, 0.0, 0))
        for number, token_id in enumerate(new_ids)
        for reason in ["length" if number == len(new_ids) - 1 else None]
    ]
    return events_by_token, reader.grounded()


def texts(events_by_token: list[list[AnswerEvent]]) -> list[str]:
    """Return the text in the events of each token."""
    return ["".join(e.text for e in events if isinstance(e, NewText)) for events in events_by_token]


@given(st.data())
def test_decoding_token_by_token_equals_decoding_at_once(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], data: st.DataObject
) -> None:
    """The tokens include bytes, skipped tokens, and spaces before punctuation."""
    ids = data.draw(sequences(vocabulary))
    sizes = iter(data.draw(st.lists(st.integers(1, 3))))
    decoder, markup, rest = TokenDecoder(tokenizer), "", ids
    while rest:
        size = next(sizes, 1)
        markup += decoder.push(rest[:size])
        rest = rest[size:]
    at_once = tokenizer.decode([*tokenizer.prefix_ids, *ids])
    assert markup + decoder.finish() == at_once.partition(END_OF_IMAGE)[2]


@pytest.mark.slow
@pytest.mark.parametrize("prompt", PROMPTS)
@given(data=st.data())
def test_the_events_add_up_to_the_answer(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], prompt: str, data: st.DataObject
) -> None:
    """This holds for any tokens and for any end, because every prefix is an answer, too."""
    prompt_ids = tokenizer.encode_prompt(prompt)
    new_ids = data.draw(sequences(vocabulary))
    sent, grounded = read(tokenizer, prompt_ids, new_ids)
    events = [event for events in sent for event in events]
    found = [event for event in events if isinstance(event, NewEntity)]
    assert "".join(texts(sent)) == grounded.answer == grounded.text[grounded.answer_start :]
    assert [event.entity for event in found] == list(grounded.entities)
    assert [event.index for event in found] == list(range(len(found)))
    assert all(event.text for event in events if isinstance(event, NewText))


@pytest.mark.parametrize("prompt", PROMPTS)
@given(data=st.data())
def test_an_answer_equals_the_parsed_whole_text(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], prompt: str, data: st.DataObject
) -> None:
    """The only exception is a second `</image>`, which is an ordinary tag here."""
    prompt_ids = tokenizer.encode_prompt(prompt)
    new_ids = data.draw(sequences(vocabulary))
    _, grounded = read(tokenizer, prompt_ids, new_ids)
    decoded = tokenizer.decode([*prompt_ids, *new_ids])
    parsed = parse_markup(decoded.partition(END_OF_IMAGE)[2]).cleaned()
    if decoded.count(END_OF_IMAGE) == 1:
        assert parsed == parse(decoded).cleaned()
    assert (grounded.markup, grounded.text) == (parsed.markup, parsed.text)
    assert grounded.answer_start == find_answer(
        parse(tokenizer.decode(prompt_ids)).text, parsed.text
    )
    assert [
        (entity.phrase, entity.span, [box.patch_indices for box in entity.boxes])
        for entity in grounded.entities
    ] == [
        (entity.phrase, entity.span, [box.patch_indices for box in entity.boxes])
        for entity in parsed.entities
    ]


@given(data=st.data())
def test_a_score_is_computed_from_the_boxs_own_tokens(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], data: st.DataObject
) -> None:
    """The n-th location tag is the n-th location token, regardless of tokens between them."""
    names = [*OBJECT.split(), "▁a", ".", "</delimiter_of_multi_objects/>"]
    new_ids = data.draw(
        st.lists(
            st.just(ids_of(vocabulary, OBJECT))
            | st.sampled_from(ids_of(vocabulary, " ".join(names))).map(lambda i: [i]),
            min_size=1,
        ).map(lambda lists: [token_id for ids in lists for token_id in ids])
    )
    _, grounded = read(tokenizer, tokenizer.encode_prompt(PROMPTS[2]), new_ids)
    numbers = [n for n, token_id in enumerate(new_ids) if token_id in tokenizer.patch_ids]
    offsets = [n for n in range(len(grounded.markup)) if grounded.markup.startswith("<patch", n)]
    parsed = parse_markup(grounded.markup).cleaned()
    places = [box.markup_offset for entity in parsed.entities for box in entity.boxes]
    scores = [box.score for entity in grounded.entities for box in entity.boxes]
    assert scores[0] is None  # the box of the prompt
    for place, score in zip(places[1:], scores[1:], strict=True):
        first = offsets.index(place) - 2
        mean = -0.01 * (numbers[first] + numbers[first + 1]) / 2
        assert score == pytest.approx(math.exp(mean))


def located(token_id: int, cell: int, neighbour: int) -> NewToken:
    """Return a location token whose probability is shared by two cells."""
    cells = np.array([cell, neighbour], dtype="<u2").tobytes()
    probabilities = np.array([0.75, 0.25], dtype="<f4").tobytes()
    location = LocationDistribution(cells, probabilities)
    return NewToken(0, token_id, -0.1, None, 0.0, 0, location=location)


def read_object(
    tokenizer: Kosmos2Tokenizer,
    vocabulary: dict[str, int],
    prompt: str,
    tokens: str,
    calibration: Calibration = UNCALIBRATED,
) -> GroundedText:
    """Return the answer of an object whose corners lie between two cells each."""
    neighbours = {"<patch_index_0044>": (44, 45), "<patch_index_0863>": (863, 895)}
    prompt_ids = tokenizer.encode_prompt(prompt)
    reader = AnswerReader(tokenizer, prompt_ids, IMAGE, calibration=calibration)
    for name in tokens.split():
        if name in neighbours:
            reader.read(located(vocabulary[name], *neighbours[name]))
        elif name in vocabulary:
            reader.read(NewToken(0, vocabulary[name], -0.1, None, 0.0, 0))
    return reader.grounded()


def test_a_generated_box_is_refined_from_the_distributions_of_its_own_tokens(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """The first corner moves a quarter of a cell to the right, the second one down."""
    grounded = read_object(tokenizer, vocabulary, PROMPTS[2], OBJECT)
    of_prompt, box = (entity.boxes[0] for entity in grounded.entities)
    assert (of_prompt.xyxy_refined, of_prompt.xyxy_refined_normalized) == (None, None)
    assert of_prompt.confidence is None
    x0, y0, x1, y1 = box.xyxy_normalized
    refined = (x0 + 0.25 / 32, y0, x1, y1 + 0.25 / 32)
    assert box.xyxy_refined_normalized == pytest.approx(refined)
    assert box.xyxy_refined == pytest.approx(scale_box(refined, IMAGE.width, IMAGE.height))
    assert 0.9 < (box.confidence or 0) < 1
    assert box.patch_indices == (44, 863)


def test_a_refined_box_and_its_confidence_use_the_calibration(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """With the exponent 0.5, the neighbour weighs √3 times less than the chosen cell, not 3."""
    calibration = Calibration(cell_exponent=0.5, confidence_curve=((0.0, 0.25), (1.0, 0.25)))
    grounded = read_object(tokenizer, vocabulary, PROMPTS[2], OBJECT, calibration)
    box = grounded.entities[1].boxes[0]
    moved = 1 / (1 + math.sqrt(3)) / 32
    x0, y0, x1, y1 = box.xyxy_normalized
    assert box.xyxy_refined_normalized == pytest.approx((x0 + moved, y0, x1, y1 + moved))
    assert box.confidence == 0.25


def test_a_box_with_one_corner_in_the_prompt_is_not_refined(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    grounded = read_object(tokenizer, vocabulary, PROMPTS[3], "<patch_index_0863> </object>")
    [box] = grounded.entities[0].boxes
    assert (box.score, box.xyxy_refined, box.confidence) == (None, None, None)


def test_text_that_only_looks_like_a_location_has_no_score(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """Ordinary tokens can spell a tag, but they have no score."""
    letters = [*"<patch_index_0001>"]
    if not vocabulary.keys() >= set(letters):
        pytest.skip("this vocabulary cannot spell a tag")
    spelled = [vocabulary[letter] for letter in letters]
    opened, closed = ids_of(vocabulary, "<object>"), ids_of(vocabulary, "</object>")
    genuine = ids_of(vocabulary, OBJECT)
    new_ids = [*opened, *spelled, *spelled, *closed, *genuine]
    _, grounded = read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)
    assert [entity.boxes[0].score is None for entity in grounded.entities] == [True, False]


@pytest.mark.parametrize(
    ("tokens", "sent"),
    [
        ("▁a ▁red ▁dog .", ["a", " red", " dog", "."]),
        ("▁a ▁ . ▁ ▁", ["a", "", ".", "", ""]),
        ("▁a ▁dog ' s", ["a", " dog", "'", "s"]),
        ("▁a ▁dog ▁ ' s ▁a", ["a", " dog", "", "", "'s", " a"]),
        ("▁a ▁dog ▁ ' a ▁a", ["a", " dog", "", "", " 'a", " a"]),
        (f"{OBJECT} ▁a", ["", "a", " red", " dog", "", "", "", "", "", " a"]),
        ("▁a ▁ < ▁red", ["a", "", "", " < red"]),
        ("▁a ▁ < ▁red >", ["a", "", "", "", ""]),
        ("▁a ▁ < ▁red > ▁dog", ["a", "", "", "", "", "  dog"]),
        ("▁a </image> ▁dog", ["a", "", " dog"]),
        ("▁a </s>", ["a", ""]),
    ],
)
def test_text_is_sent_as_soon_as_it_is_final(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], tokens: str, sent: list[str]
) -> None:
    """A client need not wait for the last token."""
    new_ids = [vocabulary[name] for name in tokens.split()]
    assert texts(read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)[0]) == sent


@pytest.mark.parametrize(
    ("tokens", "sent"),
    [
        ("▁ <0xC3> <0xA9> .", ["", "", "", "é."]),
        ("▁ <0xC3> <0xA9>", ["", "", "é"]),
        ("▁a <0xC3>", ["a", "\ufffd"]),
        ("▁a <0xC3> <0xA9> <0xFF> .", ["a", "", "", "", "\ufffd\ufffd\ufffd."]),
    ],
)
def test_bytes_are_held_back_until_their_row_ends(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], tokens: str, sent: list[str]
) -> None:
    """If one byte is invalid, none of them forms a character."""
    if "<0xC3>" not in vocabulary:
        pytest.skip("this vocabulary has no bytes")
    new_ids = [vocabulary[name] for name in tokens.split()]
    assert texts(read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)[0]) == sent


def test_the_entities_of_the_prompt_are_sent_first(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """They are sent with the first token, because before it a failure is an ordinary error."""
    sent, _ = read(tokenizer, tokenizer.encode_prompt(PROMPTS[2]), ids_of(vocabulary, "▁a"))
    first, second = sent[0]
    assert isinstance(first, NewEntity)
    assert (first.index, first.entity.phrase, first.entity.from_prompt) == (0, "It", True)
    assert second == NewText("a")


def test_an_entity_is_sent_when_it_is_complete(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """So a client can draw it while the model continues the sentence."""
    new_ids = ids_of(vocabulary, f"{OBJECT} ▁a")
    sent, _ = read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)
    assert [len(events) for events in sent[-3:]] == [0, 1, 1]
    assert isinstance(sent[-2][0], NewEntity)


@pytest.mark.parametrize("num_tokens", range(1, 8))
def test_an_unfinished_object_is_only_in_the_markup(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], num_tokens: int
) -> None:
    """The token limit may end an answer anywhere; the words of the phrase are kept."""
    new_ids = ids_of(vocabulary, OBJECT)[:num_tokens]
    _, grounded = read(tokenizer, tokenizer.encode_prompt(PROMPTS[0]), new_ids)
    written = "".join(OBJECT.replace("▁", "_").split()[:num_tokens]).replace("_", " ")
    assert grounded.markup.replace("_", " ") == f"{PROMPTS[0]}{written}".replace("_", " ")
    assert grounded.entities == ()
    assert grounded.answer == "a red dog"[: len(grounded.answer)]


@pytest.mark.slow
def test_the_right_answers_about_200_scenes_are_streamed_correctly(
    tokenizer: Kosmos2Tokenizer,
) -> None:
    """For all tasks, the stream gives the same text and the same entities as the whole answer."""
    rng = random.Random(0)
    for _ in range(200):
        for example in islice(examples_of(plan_scene(rng).objects, rng), 7):
            prompt_ids = tokenizer.encode_prompt(example.prompt)
            new_ids = tokenizer.encode_prompt(example.answer)[67:]
            sent, grounded = read(tokenizer, prompt_ids, new_ids)
            found = [e.entity for events in sent for e in events if isinstance(e, NewEntity)]
            assert "".join(texts(sent)) == grounded.answer
            assert tuple(found) == grounded.entities


LITERAL_TEXTS = (
    "Is 3<5? Where is the red circle?",
    "the I <3 NY shirt",
    "a <b> tag",
    "x <- y -> z",
    "<",
    "a << b >> c <",
    "</b>",
    "if a<b and b>c",
    "<patch_index_>",
    "> <",
)


@pytest.mark.parametrize("task", ["grounded_vqa", "phrase_grounding", "raw"])
@pytest.mark.parametrize("text", LITERAL_TEXTS)
def test_a_bracket_of_the_user_is_kept_in_text_phrase_and_stream(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int], task: str, text: str
) -> None:
    """Tags that the model writes after the bracket are still parsed."""
    prompt = write_prompt(TASKS[task], text=text, regions=[], grounding=True)
    new_ids = ids_of(vocabulary, f"{OBJECT.partition('</phrase>')[2]} ▁a {OBJECT}")
    reader = AnswerReader(tokenizer, tokenizer.encode_prompt(prompt), IMAGE, keeps_literals=True)
    sent = [
        reader.read(NewToken(0, token_id, -0.1, reason, 0.0, 0))
        for number, token_id in enumerate(new_ids)
        for reason in ["length" if number == len(new_ids) - 1 else None]
    ]
    grounded = reader.grounded()
    written = clean_up_spaces(text)
    assert written in grounded.text
    assert written in grounded.markup
    assert grounded.answer == "a a red dog"
    assert "".join(texts(sent)) == grounded.answer
    assert [entity.phrase for entity in grounded.entities] == [
        written if task == "phrase_grounding" else None,
        "a red dog",
    ]
    for entity in grounded.entities:
        assert grounded.text[slice(*entity.span)] == (entity.phrase or "")
    found = [e.entity for events in sent for e in events if isinstance(e, NewEntity)]
    assert tuple(found) == grounded.entities


def test_a_bracket_in_a_regions_phrase_is_kept(
    tokenizer: Kosmos2Tokenizer, vocabulary: dict[str, int]
) -> None:
    """The test covers questions with regions, and descriptions of one region."""
    region = Region("a <3 shirt", ((44, 863),))
    vqa = write_prompt(
        TASKS["grounded_vqa"], text="Is a <3 shirt > 5?", regions=[region], grounding=True
    )
    alone = write_prompt(
        TASKS["referring_expression_generation"], text=None, regions=[region], grounding=True
    )
    for prompt in (vqa, alone):
        prompt_ids = tokenizer.encode_prompt(prompt)
        reader = AnswerReader(tokenizer, prompt_ids, IMAGE, keeps_literals=True)
        reader.read(NewToken(0, vocabulary["▁a"], -0.1, "length", 0.0, 0))
        [entity] = reader.grounded().entities
        assert entity.phrase == "a <3 shirt"
        assert reader.grounded().text[slice(*entity.span)] == "a <3 shirt"
