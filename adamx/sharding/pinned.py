"""Steps whose results stay where their arguments are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import PyTreeDef

from adamx.core import fields
from adamx.core.checks import check_arrays, check_depth
from adamx.core.fields import Where
from adamx.core.transformation import Params, State
from adamx.sharding.memory import HOST
from adamx.sharding.meshes import AnyMesh, common_mesh

Step = Callable[..., tuple[Any, ...]]


class PlacedStep:
    """A jitted step, compiled once for every way its parameters and state are placed."""

    def __init__(self, step: Step, donate: bool) -> None:
        self._step = step
        self._donated = (0, 1) if donate else ()
        self._anywhere = jax.jit(step, donate_argnums=self._donated)
        self._programs: dict[Any, Any] = {}
        self._called = False

    def __call__(self, params: Params, state: State, *batch: Any, **extra: Any) -> tuple[Any, ...]:
        if not self._called:  # Later trees are those that it returned.
            check_arrays("step", "parameters", params)
            check_depth("step: the state", state)
            self._called = True
        mesh = _mesh_of(params)
        if mesh is None:
            result: tuple[Any, ...] = self._anywhere(params, state, *batch, **extra)
            return result
        params, state, program = self._placed(mesh, params, state)
        params, state, rest = program(params, state, *batch, **extra)
        return (params, state, *rest)

    def lower(self, params: Params, state: State, *batch: Any, **extra: Any) -> Any:
        """The step lowered for such arguments (also abstract ones), as of `jax.jit`."""
        mesh = _mesh_of(params)
        if mesh is None:
            return self._anywhere.lower(params, state, *batch, **extra)
        params, state, program = self._placed(mesh, params, state)
        return program.lower(params, state, *batch, **extra)

    def _placed(self, mesh: AnyMesh, params: Params, state: State) -> tuple[Params, State, Any]:
        """The arguments, with what was nowhere yet put on the mesh, and the program for them."""
        leaves: list[Any]
        structure: PyTreeDef
        leaves, structure = jax.tree.flatten((params, state))
        shardings = tuple(getattr(leaf, "sharding", None) for leaf in leaves)
        if (structure, shardings) not in self._programs:
            # A count made by `tx.init` outside of the mesh; the next step finds it placed.
            everywhere = NamedSharding(mesh, PartitionSpec())
            leaves = [
                jax.device_put(leaf, everywhere) if _is_nowhere(leaf) else leaf for leaf in leaves
            ]
            params, state = structure.unflatten(leaves)
            _check(params, state)
            shardings = tuple(leaf.sharding for leaf in leaves)
        if (structure, shardings) not in self._programs:
            self._programs[structure, shardings] = self._pin(structure, shardings)
        return params, state, self._programs[structure, shardings]

    def _pin(self, structure: PyTreeDef, shardings: tuple[Any, ...]) -> Any:
        on_host = any(sharding.memory_kind == HOST for sharding in shardings)
        fetched = structure.unflatten(
            sharding.with_memory_kind("device") if sharding.memory_kind == HOST else sharding
            for sharding in shardings
        )

        def nested(params: Params, state: State, *batch: Any, **extra: Any) -> tuple[Any, ...]:
            if on_host:
                params, state = jax.device_put((params, state), fetched)
            params, state, *rest = self._step(params, state, *batch, **extra)
            return params, state, rest

        return jax.jit(
            nested,
            donate_argnums=self._donated,
            out_shardings=(*structure.unflatten(shardings), None),
        )


def _mesh_of(params: Params) -> AnyMesh | None:
    """The mesh of the first parameter if it has several devices; None under a transformation."""
    for leaf in jax.tree.leaves(params):
        if isinstance(leaf, jax.core.Tracer):
            return None
        sharding = getattr(leaf, "sharding", None)
        if isinstance(sharding, NamedSharding):
            return sharding.mesh if len(sharding.device_set) > 1 else None
    return None


def _is_nowhere(leaf: object) -> bool:
    return not isinstance(leaf, jax.ShapeDtypeStruct) and not getattr(leaf, "committed", False)


def _check(params: Params, state: State) -> None:
    named = [
        (f"{what}{jax.tree_util.keystr(path)}", leaf.sharding)
        for what, tree in (("params", params), ("state", state))
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]
    common_mesh("step", named)


def keep_placement(step: Step, *, donate: bool = True) -> PlacedStep:
    """Jits a step so that parameters and state stay where they are.

    Without this, XLA decides where results go: replicated parameters come back sharded like the
    moments of ZeRO-1, and the second step is compiled again.  `make_step` does it by itself.

    Args:
      step: `(params, state, *batch) -> (params, state, *rest)`, not jitted.
      donate: update parameters and state in place; the arrays passed in are gone afterwards.

    Returns:
      The step.  It is traced once per placement and shape of its arguments.  Leaves that are on no
      mesh yet, such as the counts of `tx.init(params)`, are put on all its devices.  State in the
      memory of the host is fetched for the update and put back.

    Raises:
      TypeError: `step` is not callable, `donate` not True or False.
      ValueError: at the call, parameters or state on different meshes.

    Example:
      >>> import adamx, jax, jax.numpy as jnp
      >>> from jax.sharding import NamedSharding, PartitionSpec
      >>> replicated = NamedSharding(jax.make_mesh((8,), ("data",)), PartitionSpec())
      >>> w, tx = jnp.ones(1024, device=replicated), adamx.adam(0.1)
      >>> state = adamx.sharding.init(tx, w, adamx.sharding.zero1_sharding(tx, w, "data"))
      >>> step = adamx.sharding.keep_placement(lambda w, state, g: tx.step(g, state, w))
      >>> w, state = step(w, state, jnp.ones(1024))
      >>> tuple(w.sharding.spec), tuple(state[0].mu.sharding.spec)
      ((), ('data',))
    """
    if not callable(step):
        raise TypeError(f"keep_placement: `step` must be a function, got {step!r}")
    return PlacedStep(step, fields.check_switch(Where("keep_placement", "donate"), donate))
