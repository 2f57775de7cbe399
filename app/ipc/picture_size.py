"""The size of a decoded picture, which picture processes write and the engine reads."""

PICTURE_SIDE = 224
"""Width and height of the model's input picture, in pixels."""

PICTURE_BYTES = PICTURE_SIDE * PICTURE_SIDE * 3
