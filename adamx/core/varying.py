"""What JAX knows about who differs along the named axes of `shard_map`.

Nothing is known in `pmap`, in `vmap`, and in `shard_map(..., check_vma=False)`.
"""

from __future__ import annotations

from typing import Any

import jax


def varying(x: Any) -> frozenset[str]:
    """The mapped axes over which JAX knows that `x` differs."""
    kind: Any = jax.typeof(x)
    # Older versions of JAX call it `vma`.
    tracked = kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma
    return frozenset(tracked)
