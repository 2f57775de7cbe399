"""An embedding whose weights are always loaded, never drawn."""

from torch import nn


class LoadedEmbedding(nn.Embedding):
    """An embedding without initial values.

    To draw them on the device `meta`, torch would import its compiler, which takes a third of the
    engine's start.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as they were allocated."""
