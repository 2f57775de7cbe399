"""The grammar of answers: which token nearly always follows, so that a pass can verify it early.

<phrase> a dog</phrase><object><patch_index_0044><patch_index_0863></object>
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from app.grounding.markup import DELIMITER, END_OF_OBJECT, END_OF_PHRASE, START_OF_OBJECT

DraftNext = Callable[[Sequence[int], Collection[int]], int | None]
"""Returns the token that probably follows a row's tokens, and is none of the given ones."""


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
            token_ids: tokens of the prompt and of the answer so far.
            stops: tokens after which generation ends.
        """
        followers: tuple[int, ...] = ()
        if token_ids[-1] == self.end_of_phrase:
            followers = (self.start_of_object,)
        elif self._is_after_box(token_ids[-3:]):
            followers = (self.end_of_object, self.delimiter)
        return next((token for token in followers if token not in stops), None)

    def _is_after_box(self, last: Sequence[int]) -> bool:
        before, *corners = last
        is_pair = len(corners) == 2 and all(corner in self.cells for corner in corners)
        return is_pair and before in (self.start_of_object, self.delimiter)
