"""Names the fields of other projects' requests in errors about the fields of ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from app.errors import FieldError, InvalidRequest


@contextmanager
def rename_fields(sent: Mapping[str, str]) -> Iterator[None]:
    """Rename the fields in each `InvalidRequest` that the block raises.

    A door wraps everything that handles its request as one of ours: its conversion and the call of
    the service.

    Args:
        sent: the path that the client wrote, by the path of our field. The first of our paths that
            contains the field counts; a field in none of them keeps its path.
    """
    try:
        yield
    except InvalidRequest as error:
        first, *others = (
            FieldError(_renamed(one.field, sent), one.message) for one in error.errors
        )
        raise InvalidRequest(first.field, first.message, *others, code=error.code) from None


def _renamed(field: str, sent: Mapping[str, str]) -> str:
    """Return the path that the client wrote.

    >>> _renamed("classes[1]", {"classes": "text"})
    'text[1]'
    """
    for ours, theirs in sent.items():
        rest = field.removeprefix(ours)
        if field.startswith(ours) and rest[:1] in {"", ".", "["}:
            return theirs + rest
    return field
