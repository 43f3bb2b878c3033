"""What JAX knows about who differs along the named axes of `shard_map`.

Nothing is known in `pmap`, in `vmap`, and in `shard_map(..., check_vma=False)`.
"""

from __future__ import annotations

from typing import Any

from adamx.core import compat


def varying(x: Any) -> frozenset[str]:
    """The mapped axes over which JAX knows that `x` differs."""
    return compat.varying_axes(x)
