"""The small model that the package carries, against the exact truth of the drawn world and against simple baselines."""

from .measuring import BASELINES, VIDEOS, Outcome, measure_pair
from .model import Model, load_model
from .pairs import NUM_FRAMES, Pair, held_out_pair
from .summary import GATES, check_gates, summarise

__all__ = [
    "BASELINES",
    "GATES",
    "NUM_FRAMES",
    "VIDEOS",
    "Model",
    "Outcome",
    "Pair",
    "check_gates",
    "held_out_pair",
    "load_model",
    "measure_pair",
    "summarise",
]
