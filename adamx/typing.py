"""The types of arguments and results, for annotations of your own."""

from adamx.core.fields import AxisName as AxisName
from adamx.core.hyperparameter import Count as Count
from adamx.core.hyperparameter import Number as Number
from adamx.core.hyperparameter import ScalarOrSchedule as ScalarOrSchedule
from adamx.core.mask import MaskLike as MaskLike
from adamx.core.numerics import DTypeLike as DTypeLike
from adamx.core.transformation import Params as Params
from adamx.core.transformation import State as State
from adamx.core.transformation import Updates as Updates
