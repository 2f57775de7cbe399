"""Sequences of tokens, and the answers that are read from them."""

from hypothesis import strategies as st

from app.grounding.answer_reader import AnswerReader
from app.grounding.answers import AnswerEvent, GroundedText, ImageFacts, NewText
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.ipc.engine_messages import NewToken

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


def event_texts(events_by_token: list[list[AnswerEvent]]) -> list[str]:
    """Return the text in the events of each token."""
    return ["".join(e.text for e in events if isinstance(e, NewText)) for events in events_by_token]
