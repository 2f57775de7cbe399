"""Builds the prompt of a request as token ids."""

from app.errors import InvalidRequest
from app.grounding.answers import ImageFacts
from app.grounding.boxes import CellPair, box_to_patch_indices, parse_user_box
from app.grounding.requests import GroundRequest, UserRegion
from app.grounding.tasks import Region, write_prompt
from app.grounding.tokenizer import Kosmos2Tokenizer
from app.pictures.marks import BoxFormat

RAW_TASK = "raw"


def encode_request(
    tokenizer: Kosmos2Tokenizer, request: GroundRequest, image: ImageFacts
) -> list[int]:
    """Return all ids of the prompt, including the picture's tokens.

    Args:
        tokenizer: must belong to the checkpoint that gets the prompt.
        image: the picture that the boxes of the request refer to.

    Raises:
        InvalidRequest: a text contains a control token, a box is invalid, or a field does not fit
            the task.
    """
    _refuse_control_tokens(tokenizer, request)
    prompt = write_prompt(
        request.task,
        text=request.text,
        regions=[
            Region(region.phrase, _encode_boxes(number, region, request.box_format, image))
            for number, region in enumerate(request.regions)
        ],
        grounding=request.grounding,
    )
    return tokenizer.encode_prompt(prompt)


def check_fields(request: GroundRequest) -> None:
    """Check the fields of a request against its task, as far as its picture is not needed.

    Raises:
        InvalidRequest: a field does not fit the task.
    """
    regions = [Region(region.phrase, ((0, 0),) * len(region.boxes)) for region in request.regions]
    write_prompt(request.task, text=request.text, regions=regions, grounding=request.grounding)


def longest_field(tokenizer: Kosmos2Tokenizer, request: GroundRequest) -> str:
    """Return the field that contributes most tokens to a prompt: `text` or `regions`."""
    if request.text is None:
        return "regions"
    num_text_tokens = len(tokenizer.encode_prompt(request.text)) - len(tokenizer.prefix_ids)
    # Each box is two location tags and a delimiter, as `write_object` writes it.
    num_tags = sum(3 + 3 * len(region.boxes) for region in request.regions)
    return "text" if num_text_tokens >= num_tags else "regions"


def _refuse_control_tokens(tokenizer: Kosmos2Tokenizer, request: GroundRequest) -> None:
    if request.text is not None and request.task.name == RAW_TASK:
        tokenizer.refuse_control_tokens_in_raw("text", request.text)
    elif request.text is not None:
        tokenizer.refuse_control_tokens("text", request.text)
    for number, region in enumerate(request.regions):
        if region.phrase is not None:
            tokenizer.refuse_control_tokens(f"regions[{number}].phrase", region.phrase)


def _encode_boxes(
    number: int, region: UserRegion, box_format: BoxFormat, image: ImageFacts
) -> tuple[CellPair, ...]:
    """Return the cells of a region's boxes.

    Raises:
        InvalidRequest: a box is malformed or lies outside the picture.
    """
    pairs = []
    for index, xyxy in enumerate(region.boxes):
        try:
            box = parse_user_box(
                xyxy, width=image.width, height=image.height, box_format=box_format
            )
        except ValueError as error:
            raise InvalidRequest(f"regions[{number}].boxes[{index}]", str(error)) from None
        pairs.append(box_to_patch_indices(box))
    return tuple(pairs)
