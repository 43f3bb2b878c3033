"""The types of arguments and results, for annotations of your own."""

from adamx.core.fields import AxisName
from adamx.core.hyperparameter import Count, Number, ScalarOrSchedule
from adamx.core.mask import MaskLike
from adamx.core.numerics import DTypeLike
from adamx.core.transformation import Params, State, Updates

__all__ = [
    "AxisName",
    "Count",
    "DTypeLike",
    "MaskLike",
    "Number",
    "Params",
    "ScalarOrSchedule",
    "State",
    "Updates",
]
