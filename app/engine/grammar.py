"""The grammar of answers: which token nearly always follows, so that a pass can verify it early.

<phrase> a dog</phrase><object><patch_index_0044><patch_index_0863></object>
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from app.grounding.markup import DELIMITER, END_OF_OBJECT, END_OF_PHRASE, START_OF_OBJECT

DraftNext = Callable[[Sequence[int], Collection[int]], int | None]
"""Returns the token that probably follows a row, unless generation ends at that token."""


@dataclass(frozen=True)
class Grammar:
    """The token ids of an object list.

    Attributes:
        cells: ids of the location tokens.
    """

    end_of_phrase: int
    start_of_object: int
    end_of_object: int
    delimiter: int
    cells: range

    @classmethod
    def of(cls, tag_ids: Mapping[str, int], cells: range) -> "Grammar":
        """Return the grammar of a tokenizer.

        Args:
            tag_ids: id of each tag of the markup.
            cells: ids of the location tokens.
        """
        return cls(
            end_of_phrase=tag_ids[END_OF_PHRASE],
            start_of_object=tag_ids[START_OF_OBJECT],
            end_of_object=tag_ids[END_OF_OBJECT],
            delimiter=tag_ids[DELIMITER],
            cells=cells,
        )

    def draft_next(self, token_ids: Sequence[int], stops: Collection[int]) -> int | None:
        """Return the token that probably follows, or `None` if the grammar dictates none.

        A box is usually the last of its phrase. If generation stops after the object, its end is
        no useful draft, because no token may follow it; so the draft is another box.

        >>> grammar = Grammar(1, 2, 3, 4, cells=range(10, 20))
        >>> grammar.draft_next([5, 6, 1], stops=())
        2
        >>> grammar.draft_next([1, 2, 10, 15], stops=())
        3
        >>> grammar.draft_next([1, 2, 10, 15], stops=[3])
        4
        >>> grammar.draft_next([1, 2, 10], stops=())

        Args:
            token_ids: tokens of the prompt and of the answer so far, at least three.
            stops: tokens after which generation ends.
        """
        last = token_ids[-1]
        if last == self.end_of_phrase:
            followers: tuple[int, ...] = (self.start_of_object,)
        elif last in self.cells and self._ends_box(token_ids):
            followers = (self.end_of_object, self.delimiter)
        else:
            return None
        return next((token for token in followers if token not in stops), None)

    def _ends_box(self, token_ids: Sequence[int]) -> bool:
        """Return whether the last token, a cell, is the second one of a box."""
        is_pair = token_ids[-2] in self.cells
        return is_pair and token_ids[-3] in (self.start_of_object, self.delimiter)
