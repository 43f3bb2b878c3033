"""Where the state goes, and that it is made there."""

from __future__ import annotations

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, PartitionSpec

import adamx
from adamx.sharding import abstract_state, init, state_sharding
from tests.sharding.support import mesh, on, specs

pytestmark = pytest.mark.eight_devices

P = PartitionSpec
BOTH = pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
RECIPE = adamx.chain(
    adamx.clip_by_global_norm(1.0),
    adamx.multi_transform(
        {"adam": adamx.multi_steps(adamx.adamw(0.1), 2), "lamb": adamx.lamb(0.1)},
        adamx.label_by_path(("w", "adam"), default="lamb"),
    ),
    adamx.add_noise(0.1, 0.5, key=1),
    adamx.ema_params(0.9),
)


def placed(kind: AxisType = AxisType.Auto, dtype: Any = "float32") -> Any:
    where = mesh(2, 4, kind)
    return {
        "layers": [
            {"w": jnp.ones((8, 16), dtype, device=on(where, "model", "data"))},
            {"w": jnp.ones((16, 4), dtype, device=on(where, None, "model"))},
        ],
        "b": jnp.ones(3, dtype, device=on(where)),
        "n": jnp.arange(4, device=on(where, "model")),
    }


def by_parameter(state: Any, params: Any) -> dict[str, Any]:
    """The state's leaves that end with a parameter's path, with that parameter."""
    paths = {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]
    }
    return {
        jax.tree_util.keystr(path): (leaf, parameter)
        for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]
        for name, parameter in paths.items()
        if jax.tree_util.keystr(path).endswith(name)
    }


@BOTH
def test_every_moment_is_where_its_parameter_is(kind: AxisType) -> None:
    params = placed(kind, "bfloat16")
    state = init(RECIPE, params)
    beside = by_parameter(state, params)
    assert len(beside) == 3 + 2 + 2 * 2 + 2  # accumulated, two moments each, and the average
    for leaf, parameter in beside.values():
        assert leaf.sharding == parameter.sharding
    others = [
        leaf for leaf in jax.tree.leaves(state) if all(leaf is not x for x, _ in beside.values())
    ]
    assert others
    for leaf in others:
        assert leaf.sharding == on(params["b"].sharding.mesh)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(RECIPE.init(params)))


@BOTH
def test_abstract_parameters_give_the_same_places(kind: AxisType) -> None:
    params = placed(kind)
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), params
    )
    state = init(RECIPE, params)
    assert state_sharding(RECIPE, abstract) == specs(state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.sharding), state) == jax.tree.map(
        lambda x: (x.shape, x.dtype, x.sharding), abstract_state(RECIPE, abstract)
    )


@BOTH
def test_under_jit_with_out_shardings(kind: AxisType) -> None:
    params = placed(kind)
    shardings = state_sharding(RECIPE, params)
    state = jax.jit(RECIPE.init, out_shardings=shardings)(params)
    assert specs(state) == shardings


@BOTH
def test_own_jit_steps_keep_the_places_given_as_out_shardings(kind: AxisType) -> None:
    params = placed(kind)
    tx = adamx.chain(adamx.clip_by_global_norm(1.0), adamx.adamw(0.1), adamx.ema_params(0.9))
    state = init(tx, params)
    step = jax.jit(
        tx.step, donate_argnums=(1, 2), out_shardings=(specs(params), state_sharding(tx, params))
    )
    for _ in range(2):
        before = specs(params), specs(state)
        params, state = step(jax.tree.map(jnp.ones_like, params), state, params)
        assert (specs(params), specs(state)) == before
    assert step._cache_size() == 1


def test_one_device() -> None:
    device = jax.devices()[3]
    params = jax.device_put({"w": np.ones(8, np.float32)}, device)
    for leaf in jax.tree.leaves(init(adamx.adam(0.1), params)):
        assert leaf.devices() == {device}


@pytest.mark.parametrize("spec", [P("data"), P(None, "data")], ids=str)
def test_inside_shard_map(spec: P) -> None:
    """`tx.init` sees the shards; the state comes out like the parameters."""
    w = jnp.arange(64.0).reshape(8, 8)
    tx = adamx.chain(adamx.adam(0.1), adamx.ema_params(0.9))
    like = tx.init(w)
    out = jax.tree.map(lambda x: spec if x.ndim else P(), like)
    state = jax.jit(jax.shard_map(tx.init, mesh=mesh(), in_specs=spec, out_specs=out))(w)
    chex.assert_trees_all_equal(jax.device_get(state), jax.device_get(like))
    assert state[0][0].mu.sharding.is_equivalent_to(on(mesh(), *spec), 2)


def test_under_pmap() -> None:
    w = np.arange(32.0, dtype=np.float32).reshape(8, 4)
    tx = adamx.ema_params(0.9)
    state = jax.pmap(tx.init)(w)
    chex.assert_trees_all_equal(jax.device_get(state.ema), w)
    assert state.ema.addressable_shards[0].data.shape == (1, 4)
    assert state.count.shape == (8,)


class RowsState(NamedTuple):
    rows: Any  # one number per row
    kept: Any  # one number per row, with an axis of size 1
    columns: Any  # one number per column, which no rule places
    first: Any


def by_rows() -> optax.GradientTransformation:
    def init(params: Any) -> RowsState:
        def reduced(f: Any) -> Any:
            return jax.tree.map(f, params)

        return RowsState(
            reduced(lambda p: jnp.zeros(p.shape[:1])),
            reduced(lambda p: jnp.zeros((p.shape[0], 1))),
            reduced(lambda p: jnp.zeros(p.shape[1])),
            jnp.zeros((5, 5)),
        )

    return optax.GradientTransformation(init, lambda u, s, p=None: (u, s))


def test_a_number_per_row_is_where_the_row_is() -> None:
    table = {"w": jnp.ones((16, 8), device=on(mesh(2, 4), "model", "data"))}
    state = init(adamx.chain(by_rows()), table)[0]
    assert tuple(state.rows["w"].sharding.spec) == ("model",)
    assert tuple(state.kept["w"].sharding.spec) == ("model", None)
    assert state.columns["w"].sharding.is_fully_replicated
    assert state.first.sharding.is_fully_replicated
    named = adamx.sharding.placement_table(state).splitlines()[-1]
    assert named == "replicated: .columns['w'], .first"


def test_the_longest_path_wins() -> None:
    where = mesh(2, 4)
    params = {
        "w": jnp.ones((8, 8), device=on(where, "data")),
        "a": {"w": jnp.ones((8, 8), device=on(where, None, "model"))},
    }
    mu = init(adamx.scale_by_adam(), params).mu
    assert specs(mu) == specs(params)


def test_nothing_is_made_whole_on_one_device() -> None:
    """The program that makes the state holds one shard of each leaf per device, and no constant."""
    params = {"w": jnp.ones((1024, 64), device=on(mesh(), "data"))}
    tx = adamx.adam(0.1)
    shardings = state_sharding(tx, params)
    memory = jax.jit(tx.init, out_shardings=shardings).lower(params).compile().memory_analysis()
    shard = 1024 * 64 * 4 // 8
    assert memory.output_size_in_bytes < 2 * shard + 1024
    assert memory.temp_size_in_bytes < 1024
    assert memory.argument_size_in_bytes <= shard


@pytest.mark.parametrize(
    ("make_params", "kind", "message"),
    [
        (
            lambda: {"w": np.ones(8)},
            TypeError,
            r"parameter \['w'\] must be a `jax.Array`.*got ndarray",
        ),
        (lambda: {"w": 1.0}, TypeError, "got float"),
        (lambda: {"w": jax.ShapeDtypeStruct((8,), "float32")}, TypeError, "got ShapeDtypeStruct"),
        (dict, ValueError, "there are no parameters"),
        (
            lambda: {
                "w": jax.ShapeDtypeStruct((8,), "float32", sharding=on(mesh(2, 4))),
                "v": jax.ShapeDtypeStruct((8,), "float32", sharding=on(mesh(4, 2))),
            },
            ValueError,
            r"\['w'\] is on the mesh \('data': 2, 'model': 4\).*\['v'\] is on the mesh "
            r"\('data': 4, 'model': 2\)",
        ),
        (
            lambda: {
                "w": jax.ShapeDtypeStruct((4, 10), "float32", sharding=on(mesh(), None, "data"))
            },
            ValueError,
            r"\['w'\] has shape \(4, 10\): dimension 1 of size 10 cannot be sharded evenly over "
            "'data' of size 8",
        ),
    ],
    ids=["numpy", "number", "nowhere", "nothing", "two meshes", "uneven"],
)
def test_what_cannot_be_placed(make_params: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        state_sharding(adamx.adam(0.1), make_params())


@pytest.mark.parametrize("call", [init, abstract_state, state_sharding])
def test_transformation_and_parameters_in_their_order(call: Any) -> None:
    with pytest.raises(TypeError, match=r"the transformation comes first .* got dict as"):
        call(placed(), adamx.adam(0.1))


@pytest.mark.parametrize("call", [init, abstract_state])
def test_shardings_of_another_structure_are_refused(call: Any) -> None:
    params = {"w": jnp.ones((8, 4), device=on(mesh(), "data"))}
    tx, everywhere = adamx.adam(0.1), on(mesh())
    with pytest.raises(ValueError, match=r"must be a tree like the state, got one sharding, Named"):
        call(tx, params, everywhere)
    same = jax.tree.map(lambda _: everywhere, state_sharding(tx, params))
    chex.assert_trees_all_equal_structs(call(tx, params, same), tx.init(params))
    for other, shown in (
        (state_sharding(adamx.amsgrad(0.1), params), r"unexpected \[0\]\.nu_max\['w'\]"),
        (state_sharding(adamx.ema_params(0.9), params), r"nothing for \[0\]\.count"),
        ([*state_sharding(tx, params)], "other containers"),
    ):
        with pytest.raises(
            ValueError, match=rf"{call.__name__}: .*{shown}.*another transformation"
        ):
            call(tx, params, other)
