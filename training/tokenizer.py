"""The tokenizer: word pieces in the layout that Kosmos-2's processor expects."""

import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from app.grounding.tokenizer import Kosmos2Tokenizer, SpecialTokens
from training.examples import examples_of
from training.world import plan_scene

NUM_IMAGE_TOKENS = 64
NUM_CELLS = 1024
MAX_POSITIONS = 2048
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
ROLES = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
BYTE_TOKENS = tuple(f"<0x{value:02X}>" for value in range(256))
TAGS = (
    "</doc>",
    "<image>",
    "</image>",
    "</chunk>",
    "</line>",
    "<phrase>",
    "</phrase>",
    "<object>",
    "</object>",
    "</delimiter_of_multi_objects/>",
    "<grounding>",
)
# Common words, in addition to those of the scenes, so that plain English is not split into letters.
PLAIN_ENGLISH = Path(__file__).with_name("plain_english.txt").read_text(encoding="utf-8")


def train_tokenizer(
    seed: int, num_scenes: int = 1500, num_pieces: int = 1000
) -> PreTrainedTokenizerFast:
    """Learn word pieces from the scenes' sentences; unknown characters become bytes."""
    vocabulary = _reserved_tokens() + _learned_pieces(seed, num_scenes, num_pieces)
    # 3 is the position of `<unk>` among the special tokens.
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=3, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = _pre_tokenizer()
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")]
    )
    return _wrapped(_with_tags(tokenizer))


def _learned_pieces(seed: int, num_scenes: int, num_pieces: int) -> list[tuple[str, float]]:
    """Return whole words of the sentences, single characters, and common fragments of words.

    Scores are almost equal, so that the split with the fewest pieces wins. The library's trainers
    would split the few words into letters or, on ties, learn another vocabulary in every run.
    """
    split = _pre_tokenizer().pre_tokenize_str
    words = Counter(word for text in _sentences(seed, num_scenes) for word, _ in split(text))
    fragments = Counter(
        word[start : start + length]
        for word in words
        for length in (2, 3, 4)
        for start in range(len(word) - length + 1)
    )
    alphabet = ["▁", *(chr(code) for code in range(33, 127))]
    pieces = [*alphabet, *_most_common(words), *_most_common(fragments)]
    unique = list(dict.fromkeys(pieces))[:num_pieces]
    return [(piece, -1 - 1e-4 * rank) for rank, piece in enumerate(unique)]


def _most_common(counts: Counter[str]) -> list[str]:
    """Sort by falling count and break ties alphabetically, so that every run agrees."""
    return sorted(counts, key=lambda piece: (-counts[piece], piece))


def _reserved_tokens() -> list[tuple[str, float]]:
    """Return ids 0 to 3, the picture's 64 tokens after `<unk>`, and one token for every byte.

    No text can produce these tokens by their names, because `<` is always a separate piece.
    """
    pictures = [f"<image_place_{index:02d}>" for index in range(NUM_IMAGE_TOKENS)]
    return [(token, 0.0) for token in [*SPECIAL_TOKENS, *pictures, *BYTE_TOKENS]]


def _pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """Split into words with the space before them, as upstream, and single signs and digits."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(prepend_scheme="always"),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )


def _sentences(seed: int, num_scenes: int) -> Iterator[str]:
    """Yield prompts and answers without tags, and the plain English words."""
    rng = random.Random(f"tokenizer {seed}")
    for _ in range(num_scenes):
        for example in islice(examples_of(plan_scene(rng).objects, rng), 8):
            yield without_tags(example.prompt + example.answer)
    # Often enough that these words and their fragments are among the most common.
    for _ in range(100):
        yield PLAIN_ENGLISH
        yield PLAIN_ENGLISH.title()


def _with_tags(tokenizer: Tokenizer) -> Tokenizer:
    """Mark the special tokens; add `<mask>`, tags and grid cells in the processor's order."""
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    cells = [f"<patch_index_{index:04d}>" for index in range(NUM_CELLS)]
    tokenizer.add_tokens(
        [AddedToken(token, lstrip=True, normalized=False) for token in [*TAGS, *cells]]
    )
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_POSITIONS,
        padding_side="right",
        clean_up_tokenization_spaces=True,
        **ROLES,
    )


def as_served(tokenizer: PreTrainedTokenizerFast) -> Kosmos2Tokenizer:
    """Return the tokenizer in the form that the service uses."""
    return Kosmos2Tokenizer(
        tokenizer.backend_tokenizer,
        SpecialTokens(),
        cleans_up_spaces=tokenizer.clean_up_tokenization_spaces,
    )


def without_tags(markup: str) -> str:
    """Return the text without tags and cells."""
    return re.sub(r"<[^>]*>", "", markup)


def encode(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Return the ids of a text with tags, without added special tokens."""
    ids: list[int] = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def encode_answer(tokenizer: PreTrainedTokenizerFast, answer: str) -> list[int]:
    """Return an answer's ids with the end token, without the space between tag and punctuation.

    The tokenizer inserts a space after every tag. Decoding cleans `</object> .` to `</object>.`, so
    the model need not learn to write the space.
    """
    space = tokenizer.convert_tokens_to_ids("▁")
    ids = [token for token in encode(tokenizer, answer) if token != space]
    return [*ids, tokenizer.eos_token_id]
