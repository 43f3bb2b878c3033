"""Where the Adams of Keras and TensorFlow differ among each other; the table of all in docs."""

from __future__ import annotations

from typing import NamedTuple


class Preset(NamedTuple):
    """The ways of one generation of Keras."""

    several_clips: bool  # value, then norm per variable, then global norm; else one of them
    ema_start: int  # the step after which the average of the parameters starts
    ema_of_all: bool  # variables without a gradient take part in the average
    zero_epsilon: float  # what an epsilon of 0 stands for
    interleaved: bool  # weights are m and v per variable; else all m, then all v
    rate_is_weight: bool  # a learning rate that is a number is one of the weights
    nadam_decay: float  # Nadam's momentum at step t is beta_1 (1 - 0.96**(t * decay) / 2)
    nadam_product: str  # its product among the weights: before the slots, behind, or not at all
    slot_names: dict[str, str]  # what it calls the fields of the state


_TENSORFLOW_SLOTS = {"m": "mu", "v": "nu", "vhat": "nu_max"}
PRESETS = {
    # keras.optimizers of Keras 3.
    "keras": Preset(
        several_clips=False,
        ema_start=1,
        ema_of_all=True,
        zero_epsilon=0.0,
        interleaved=True,
        rate_is_weight=True,
        nadam_decay=1.0,
        nadam_product="behind",
        slot_names={"momentum": "mu", "velocity": "nu", "norm": "nu", "velocity_hat": "nu_max"},
    ),
    # tf.keras.optimizers from TF 2.11 on, and the DTensor optimizers of TF 2.9 and 2.10.
    "tensorflow": Preset(
        several_clips=False,
        ema_start=0,
        ema_of_all=False,
        zero_epsilon=0.0,
        interleaved=True,
        rate_is_weight=False,
        nadam_decay=1.0,
        nadam_product="absent",
        slot_names=_TENSORFLOW_SLOTS,
    ),
    # tf.keras.optimizers of TF 1.x to 2.10, now tf.keras.optimizers.legacy.
    "legacy": Preset(
        several_clips=True,
        ema_start=0,
        ema_of_all=False,
        zero_epsilon=1e-7,
        interleaved=False,
        rate_is_weight=False,
        nadam_decay=0.004,
        nadam_product="before",
        slot_names=_TENSORFLOW_SLOTS,
    ),
}
