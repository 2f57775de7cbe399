"""Prompts of the model card, and random texts that resemble tags."""

from hypothesis import strategies as st

SNOWMAN = "<object><patch_index_0044><patch_index_0863></object>"
FIRE = "<object><patch_index_0005><patch_index_0911></object>"
CARD_PROMPTS = (
    "<grounding>An image of",
    "<grounding><phrase> a snowman</phrase>",
    "<grounding><phrase> a snowman next to a fire</phrase>",
    f"<grounding><phrase> It</phrase>{SNOWMAN} is",
    "<grounding> Question: What is special about this image? Answer:",
    f"<grounding> Question: Where is<phrase> the fire</phrase>{FIRE} next to? Answer:",
    "<grounding> An image of",
    "<grounding> Describe this image in detail:",
)
tag_like_words = st.sampled_from(
    [
        "<phrase>",
        "</phrase>",
        "<object>",
        "</object>",
        "<patch_index_0044>",
        "<patch_index_5000>",
        "<grounding>",
        "</delimiter_of_multi_objects/>",
        "<pad>",
        "</s>",
        "<unk>",
        "<image>",
        "</image>",
        "＜pad＞",
        "＜object＞",
        "＜/image＞",
        "＜patch_index_0044＞",
        "＞",
        "＜",
        "ob",
        "ject",
        "\u0338",
        "\u200b",
        "𓀀",
        "☃",
        "▁",
        " ",
        " a dog's , don't .",
        "\n",
        "é",
    ]
)
tag_like_texts = st.lists(tag_like_words | st.text(max_size=3), max_size=8).map("".join)
