"""The base of peers on JAX: `(params, state, grads) -> (params, state)`, donated."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.models import Model
from benchmarks.peers.base import Compiled, Memory, Prepared
from benchmarks.recipes import Recipe


class Program(NamedTuple):
    """An optimizer as two functions."""

    init: Callable[[Any], Any]  # params -> state
    step: Callable[[Any, Any, Any], tuple[Any, Any]]  # (params, state, grads) -> (params, state)


def nbytes(tree: Any) -> int:
    """Bytes of the arrays of a tree."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def temporary_bytes(program: jax.stages.Compiled) -> int | None:
    """The bytes that XLA allocates besides arguments and results, on one device."""
    memory = program.memory_analysis()
    return None if memory is None else int(memory.temp_size_in_bytes)


def draw(leaves: Any, seed: int, scale: float) -> Any:
    """Normal numbers in the shapes of `leaves`."""
    random = np.random.default_rng(seed)

    def normal(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.array(scale * random.standard_normal(leaf.shape, np.float32), leaf.dtype)

    return jax.tree.map(normal, leaves)


def compile_step(step: Callable[..., Any], *like: Any) -> Compiled:
    """Lowers and compiles a step that takes parameters and state first and is given them."""
    start = time.perf_counter()
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(*like)
    middle = time.perf_counter()
    program = lowered.compile()
    end = time.perf_counter()
    memory = Memory(nbytes(like[:2]), temporary_bytes(program))
    return Compiled(middle - start, end - middle, memory, program)


def prepared(
    step: Callable[..., Any], compiled: Compiled, params: Any, state: Any, *rest: Any
) -> Prepared:
    """A step in place, one at a time or several in a loop of one program."""
    current = [params, state]

    def dispatch() -> None:
        current[:] = compiled.program(*current, *rest)[:2]

    # A number of rounds that XLA knows: else a GPU asks the host after each whether to go on.
    @functools.partial(jax.jit, donate_argnums=(0, 1), static_argnums=2)
    def loop(params: Any, state: Any, times: int, *rest: Any) -> Any:
        return jax.lax.fori_loop(0, times, lambda _, at: step(*at, *rest)[:2], (params, state))

    def in_one_program(times: int) -> None:
        current[:] = loop(*current, times, *rest)

    return Prepared(
        dispatch, lambda: jax.block_until_ready(current), compiled.memory, in_one_program
    )


class JaxPeer:
    """A peer whose optimizers are programs; what they are is the subclass's."""

    name: str
    package: str

    def program(self, recipe: Recipe) -> Program:
        """The recipe as this library's documentation writes it.

        Raises:
          Unsupported: the library does not have it.
        """
        raise NotImplementedError

    def state_like(self, program: Program, leaves: Any) -> Any:
        """Shapes of the state."""
        return jax.eval_shape(program.init, leaves)

    def compile(self, recipe: Recipe, model: Model) -> Compiled:
        program = self.program(recipe)
        state = self.state_like(program, model.leaves)
        return compile_step(program.step, model.leaves, state, model.leaves)

    def init(self, program: Program, params: Any) -> Any:
        """The state for concrete parameters."""
        return jax.jit(program.init)(params)

    def prepare(self, recipe: Recipe, model: Model, seed: int) -> Prepared:
        program = self.program(recipe)
        params = draw(model.leaves, seed, 1.0)
        grads = draw(model.leaves, seed + 1, 1e-2)
        state = self.init(program, params)
        compiled = compile_step(program.step, params, state, grads)
        return prepared(program.step, compiled, params, state, grads)
