"""Steps, lowered for chips that are not there; each runs in the process that can compile them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

import adamx
from benchmarks.ahead_of_time import Program, compiled, devices
from tests.contract.support import tree
from tests.contract.table import CASES

# Of the one large leaf, of the table, and of the network's matrices.
# With fewer columns than a TPU has lanes, 128, XLA stores a table with its columns one after the
# other, and copies all of it to read and write rows.
# And a table that fits into its fast memory, 128 MB, could be made anew there, unseen.
N, V, D, ROWS, WIDTH = 4096, 2**19, 128, 512, 1024
# Bytes of one of these.
TABLE, MATRIX = 4 * V * D, 4 * 4 * WIDTH**2

OPTIMIZERS: dict[str, Callable[[], adamx.GradientTransformation]] = {
    "adamw": lambda: adamx.adamw(1e-3, weight_decay=0.1),
    "pair": lambda: adamx.adamw(1e-3, state_format="pair"),
    "pair in blocks": lambda: adamx.adamw(1e-3, state_format=adamx.pair_format(256)),
    "bfloat16 moments": lambda: adamx.adamw(1e-3, state_format="bfloat16"),
    "pair, bfloat16 parameters": lambda: adamx.bfloat16_params(OPTIMIZERS["pair"]()),
    "pair, parameters of 24 bits": lambda: adamx.bfloat16_params(OPTIMIZERS["pair"](), 8),
    "adamw + ema": lambda: adamx.chain(OPTIMIZERS["adamw"](), adamx.ema_params(0.999)),
    "clip + adamw": lambda: adamx.chain(adamx.clip_by_global_norm(1.0), OPTIMIZERS["adamw"]()),
    "guard(clip + adamw + ema)": lambda: adamx.apply_if_finite(
        adamx.chain(OPTIMIZERS["clip + adamw"](), adamx.ema_params(0.999))
    ),
}


def _on_one(topology: str, shapes: Any) -> Any:
    chip = SingleDeviceSharding(devices(topology)[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=chip), shapes)


def _step(topology: str, tx: adamx.GradientTransformation, params: Any, grads: Any) -> Program:
    state = jax.eval_shape(tx.init, params)
    step = jax.jit(
        lambda params, state, grads: tx.step(grads, state, params),
        donate_argnums=(0, 1),
        keep_unused=True,
    )
    lowered = step.lower(*_on_one(topology, (params, state, grads)))
    return compiled(lowered, in_place=(params, state))


def one_leaf(topology: str, optimizer: str, dtype: str = "float32") -> Program:
    """A step of `N * N` parameters, with gradients of their dtype."""
    params = {"w": jax.ShapeDtypeStruct((N, N), dtype)}
    return _step(topology, OPTIMIZERS[optimizer](), params, params)


def contract_case(topology: str, id: str) -> Program:
    """A step of the contract's table, with its few parameters."""
    (case,) = (case for case in CASES if case.id == id)
    return _step(topology, case.make(), tree(), tree())


def rows_of_a_table(topology: str, mode: str) -> Program:
    """The README's recipe for tables in `make_step`: rows read, summed, clipped and stepped."""

    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        return jnp.mean(jnp.tanh(adamx.sparse.lookup(params["embed"], tokens)) ** 2)

    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.sparse.adamw(3e-4, {"embed": mode}))
    params = {"embed": jax.ShapeDtypeStruct((V, D), jnp.float32)}
    state, tokens = jax.eval_shape(tx.init, params), jax.ShapeDtypeStruct((ROWS,), jnp.int32)
    step = adamx.make_step(loss, tx, tables={"embed": lambda tokens: tokens})
    lowered = step.lower(*_on_one(topology, (params, state, tokens)))
    return compiled(lowered, in_place=(params, state))


def _recipe() -> adamx.GradientTransformation:
    """The README's."""
    rate = adamx.warmup_cosine_decay_schedule(0.0, 3e-4, 1_000, 100_000)
    return adamx.chain(
        adamx.clip_by_global_norm(1.0),
        adamx.adamw(rate, weight_decay=0.1),
        adamx.ema_params(0.999),
    )


def _loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    hidden = jnp.tanh(x @ params["up"]["w"] + params["up"]["b"])
    return jnp.mean((hidden @ params["down"]["w"] - y) ** 2)


def _network(shard: Callable[[tuple[int, ...]], jax.ShapeDtypeStruct]) -> Any:
    return {
        "up": {"w": shard((WIDTH, 4 * WIDTH)), "b": shard((4 * WIDTH,))},
        "down": {"w": shard((4 * WIDTH, WIDTH))},
    }


def readme(topology: str) -> Program:
    """The README's recipe in `make_step`, on one chip."""
    tx = _recipe()
    params = _network(lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32))
    batch = jax.ShapeDtypeStruct((256, WIDTH), jnp.float32)
    state = jax.eval_shape(tx.init, params)
    lowered = adamx.make_step(_loss, tx).lower(*_on_one(topology, (params, state, batch, batch)))
    return compiled(lowered, in_place=(params, state))


def zero1(topology: str) -> Program:
    """The same on all chips, with a share of the batch and of the state on each."""
    mesh, tx = Mesh(devices(topology), ("data",)), _recipe()

    def placed(shape: tuple[int, ...], *spec: str) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, PartitionSpec(*spec))
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)

    params = _network(placed)
    shares = adamx.sharding.zero1_sharding(tx, params, "data")
    state = adamx.sharding.abstract_state(tx, params, shares)
    batch = placed((256 * mesh.size, WIDTH), "data")
    lowered = adamx.make_step(_loss, tx).lower(params, state, batch, batch)
    return compiled(lowered, in_place=(params, state))
