"""Clipping what is unusually large, by what the recent norms were."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax.numpy as jnp

from adamx.core import fields, numerics
from adamx.core.fields import AxisName
from adamx.core.hyperparameter import (
    ScalarOrSchedule,
    whole,
)
from adamx.core.link import View
from adamx.core.norms import safe_sqrt
from adamx.core.transformation import EmptyState, State
from adamx.transforms.clipping import ClipReport, clip_globally
from adamx.transforms.norm_statistics import (
    NormStatistics,
    init_statistics,
    threshold,
    update_statistics,
)
from adamx.transforms.scaling import Scaling
from adamx.transforms.sharded_norms import Shards


class ClipSpikesReport(ClipReport):
    """The effect of `clip_spikes`, with `report=True`."""

    owner = "clip_spikes"


class ClipSpikesState(NamedTuple):
    """The usual norms."""

    statistics: NormStatistics  # of the norms after clipping
    report: ClipReport | EmptyState

    def metrics(self) -> dict[str, chex.Array]:
        """The usual norm and its standard deviation; the report has its own."""
        return {
            "clip_spikes/norm_mean": self.statistics.mean,
            "clip_spikes/norm_std": safe_sqrt(self.statistics.variance),
        }


class ClipSpikes(Scaling):
    """Clips the global norm where it is unusually large, by the recent norms.

        limit_t = m_{t-1} + num_std * sqrt(v_{t-1})        infinite in the first warmup_steps
        u <- u * min(1, limit_t / ||u||)
        m_t, v_t: running mean and variance of min(||u||, limit_t)

    The statistics are those of the clipped norms, so that one spike raises the limit a little and
    a lasting change of scale is followed.  A norm that is not finite is not counted; during the
    warm-up it is passed on, afterwards as in `clip_by_global_norm`.

    Args:
      num_std: how many standard deviations above the mean are usual, >= 0.
      decay: the weight of the past in mean and variance, in [0, 1); they are bias-corrected.
        Both may be schedules of the number of norms counted so far.
      warmup_steps: how many norms to see before any is clipped, at least 1.
      axis_name, report: see `clip_by_global_norm`.

    Returns:
      A transformation with state `ClipSpikesState(statistics, report)`, where `statistics` is
      `NormStatistics(count, mean, variance)`; its `metrics()` name them.

    Raises:
      ValueError: `num_std` negative, `decay` outside [0, 1), `warmup_steps` below 1.
      TypeError: not a number, array or schedule; an axis name that is no string.

    Reference:
      Kumar et al., ZClip: Adaptive Spike Mitigation for LLM Pre-Training, 2025, whose statistics
      these are; a spike is clipped to the threshold itself.

    Example:
      >>> import adamx, jax.numpy as jnp
      >>> tx = adamx.clip_spikes(3.0, warmup_steps=2)
      >>> state = tx.init(None)
      >>> for g in (1.0, 3.0, 1000.0):
      ...     u, state = tx.update(jnp.array(g), state)
      >>> bool(u < 6.0), bool(state.statistics.mean < 6.0)
      (True, True)
    """

    rows = "coalesced"
    elementwise = False

    num_std: ScalarOrSchedule = fields.hyperparameter(fields.NONNEGATIVE)
    decay: ScalarOrSchedule = fields.hyperparameter(fields.DECAY_RATE, default=0.99)
    warmup_steps: int = fields.count(1, default=100)
    axis_name: AxisName = fields.axis_name(default=None, kw_only=True)
    report: bool = fields.switch(default=False, kw_only=True)

    def state_type(self) -> type[Any]:
        return ClipSpikesState

    def numbers(self) -> dict[str, Any]:
        count = jnp.zeros((), jnp.int32)
        report = (
            ClipSpikesReport(count, **ClipSpikesReport.start()) if self.report else EmptyState()
        )
        return {"statistics": init_statistics(), "report": report}

    def scalars(self, view: View, state: State) -> tuple[chex.Array, dict[str, Any]]:
        statistics, report = state.statistics, state.report
        num_std, decay = self.now(statistics, "num_std", "decay")
        norm = Shards(self.axis_name).global_norm(view.updates)
        limit = threshold(statistics, num_std, whole(self.warmup_steps, "warmup_steps"))
        factor, measured = clip_globally(norm, limit)
        # An infinite norm stays one here, and is not counted.
        clipped = jnp.where(jnp.isfinite(norm), jnp.minimum(norm, limit), norm)
        if self.report:
            fields = ClipReport.record(report, measured())
            report = report._replace(count=numerics.safe_increment(report.count), **fields)
        return factor, {
            "statistics": update_statistics(statistics, clipped, decay),
            "report": report,
        }


clip_spikes = ClipSpikes
