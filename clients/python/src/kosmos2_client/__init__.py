"""Client of a Kosmos-2 service: boxes for single pictures and for folders."""

from kosmos2_client.errors import Kosmos2ClientError
from kosmos2_client.results import Detections, Grounding, Image, Prediction

__all__ = ["Detections", "Grounding", "Image", "Kosmos2ClientError", "Prediction"]
