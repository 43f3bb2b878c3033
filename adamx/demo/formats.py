"""In how many bits moments and parameters are kept, by the names on the command line."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

import adamx
from adamx.demo.arguments import Parser, one_of

FLOAT32 = "float32"
# The values of `state_format`.
STATE_FORMATS: dict[str, str | None] = {FLOAT32: None, "bfloat16": "bfloat16", "pair": "pair"}
# The `extra_bits` beside a parameter in bfloat16.
PARAM_FORMATS: dict[str, int | None] = {
    FLOAT32: None,
    "bfloat16": 0,
    "bfloat16+8": 8,
    "bfloat16+16": 16,
    "bfloat16+32": 32,
}


def add_options(parser: Parser, state: str = "", params: str = "") -> None:
    """The two options; `state` and `params` say what else is to be known about them."""
    parser.add_argument(
        "--state-format",
        metavar="NAME",
        type=one_of(*STATE_FORMATS),
        default=FLOAT32,
        help="how the moments are stored: float32, bfloat16 rounded at random, or pair, which is "
        f"both of them in 16 bits{state} (default: %(default)s)",
    )
    parser.add_argument(
        "--param-format",
        metavar="NAME",
        type=one_of(*PARAM_FORMATS),
        default=FLOAT32,
        help="how the parameters are stored: float32, bfloat16 rounded at random, or bfloat16 "
        "with 8, 16 or 32 bits more of each beside it: bfloat16+8, bfloat16+16, bfloat16+32"
        f"{params} (default: %(default)s)",
    )


def with_params(name: str, tx: adamx.GradientTransformation) -> adamx.GradientTransformation:
    """A whole recipe, for parameters that are stored so."""
    bits = PARAM_FORMATS[name]
    return tx if bits is None else adamx.bfloat16_params(tx, bits)


def stored(name: str, params: Any) -> Any:
    """Parameters as they are stored before the first step."""
    if PARAM_FORMATS[name] is None:
        return params
    return jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
