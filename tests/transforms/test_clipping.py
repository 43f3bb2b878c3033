"""Clips bound what they say they bound, change nothing else, and agree between devices."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec

import adamx
from adamx.transforms.norm_statistics import init_statistics, threshold, update_statistics
from tests.oracles import links
from tests.selection import in_turn
from tests.test_compiled import SCRATCH, compile_step
from tests.versions import in_place

SHAPES = ((), (1,), (5,), (4, 3), (2, 3, 2), (3, 1, 2, 4), (2, 2, 1, 3, 2))
EPS = 1e-3


def leaves(seed: int, scale: float = 1.0, shapes: Any = SHAPES) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    real = [np.asarray(scale * rng.standard_normal(shape), np.float32) for shape in shapes]
    return [*real, np.complex64(real[2] + 1j * rng.standard_normal(shapes[2]))]


PARAMS = leaves(100, 0.3)
PARAMS[2] = np.zeros_like(PARAMS[2])
# Every clip of one gradient: the transformation, its oracle, and optax's.
CLIPS: dict[str, tuple[Any, Any, Any]] = {
    "clip": (adamx.clip(0.5), lambda u: links.clip(u, 0.5), optax.clip(0.5)),
    "clip_by_norm": (adamx.clip_by_norm(1.5), lambda u: links.clip_by_norm(u, 1.5), None),
    "clip_by_block_rms": (
        adamx.clip_by_block_rms(0.8),
        lambda u: links.clip_by_block_rms(u, 0.8),
        optax.clip_by_block_rms(0.8),
    ),
    "clip_by_global_norm": (
        adamx.clip_by_global_norm(2.0),
        lambda u: links.clip_by_global_norm(u, 2.0),
        optax.clip_by_global_norm(2.0),
    ),
    "adaptive_grad_clip": (
        adamx.adaptive_grad_clip(0.4, EPS),
        lambda u: links.adaptive_grad_clip(u, PARAMS, 0.4, EPS),
        optax.adaptive_grad_clip(0.4, EPS),
    ),
}
every_clip = pytest.mark.parametrize("name", CLIPS)


def reporting(name: str) -> Any:
    return CLIPS[name][0].replace(report=True)


def update(tx: Any, updates: Any, state: Any = None, params: Any = PARAMS) -> Any:
    return tx.update(updates, tx.init(params) if state is None else state, params)


@every_clip
@pytest.mark.parametrize("scale", [1e-12, 0.3, 1.0, 1e6])
def test_is_what_the_definition_says(name: str, scale: float) -> None:
    tx, oracle, _ = CLIPS[name]
    given_ = leaves(1, scale)
    clipped, _ = update(tx, given_)
    for u, exact in zip(clipped, oracle(given_), strict=True):
        np.testing.assert_allclose(u, exact, rtol=2e-6)


@pytest.mark.parametrize("name", [name for name, (_, _, theirs) in CLIPS.items() if theirs])
def test_is_what_optax_does(name: str) -> None:
    tx, _, theirs = CLIPS[name]
    for seed in range(3):
        real, params = leaves(seed)[:-1], PARAMS[:-1]
        ours, _ = update(tx, real, params=params)
        expected, _ = theirs.update(real, theirs.init(params), params)
        chex.assert_trees_all_close(ours, expected, rtol=2e-6)


@every_clip
def test_what_is_within_the_limit_is_returned_bit_for_bit(name: str) -> None:
    small = leaves(1, 1e-5)
    small[-1] = small[-1] * np.float32(1e-5)
    chex.assert_trees_all_equal(update(CLIPS[name][0], small)[0], small)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=6),
    st.floats(2.0**-20, 2.0**20, width=32),
)
def test_norm_is_bounded_and_direction_kept(elements: list[float], max_norm: float) -> None:
    given_ = np.array(elements, np.float32)
    clipped, _ = update(adamx.clip_by_global_norm(max_norm), given_)
    clipped = np.float64(clipped)
    assert np.linalg.norm(clipped) <= max_norm * (1 + 1e-6)
    # Parallel, with one factor in (0, 1]: up to the smallest floats, which are flushed to 0.
    factor = np.linalg.norm(clipped) / max(np.linalg.norm(np.float64(given_)), 1e-300)
    np.testing.assert_allclose(clipped, factor * given_, rtol=1e-5, atol=1e-37)


@every_clip
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_clipped_in_float32(name: str, dtype: Any) -> None:
    """The squares of 300 overflow float16."""
    tx, oracle, _ = CLIPS[name]
    given_ = [jnp.asarray(300.0 * u, dtype) for u in leaves(1)[:-1]]
    clipped, _ = update(tx, given_, params=PARAMS[:-1])
    exact = oracle([*map(np.float32, given_), np.zeros(5, np.complex64)])
    for u, e in zip(clipped, exact, strict=False):
        assert u.dtype == dtype
        np.testing.assert_allclose(np.float64(u), e, rtol=float(jnp.finfo(dtype).eps), atol=1e-7)


@pytest.mark.parametrize("name", [n for n in CLIPS if n != "clip_by_global_norm"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_leaf(name: str, bad: float) -> None:
    tx = CLIPS[name][0]
    good = leaves(1)
    poisoned = [u.copy() for u in good]
    poisoned[3][1, 2] = bad
    expected, _ = update(tx, good)
    clipped, _ = update(tx, poisoned)
    chex.assert_trees_all_equal(
        [*clipped[:3], *clipped[4:]], [*map(np.asarray, [*expected[:3], *expected[4:]])]
    )
    # By value an infinity is clipped like any large number.
    kept = 0.5 if name == "clip" and bad == np.inf else np.nan
    np.testing.assert_equal(np.asarray(clipped[3])[1, 2], kept)
    if name == "clip":
        others = np.arange(12).reshape(4, 3) != 5
        np.testing.assert_array_equal(clipped[3][others], np.asarray(expected[3])[others])


def test_a_nan_in_a_unit_leaves_other_units_alone() -> None:
    tx = CLIPS["adaptive_grad_clip"][0]
    poisoned = leaves(1)
    poisoned[3][1, 2] = np.nan
    clipped, expected = update(tx, poisoned)[0][3], update(tx, leaves(1))[0][3]
    np.testing.assert_array_equal(clipped[:, :2], expected[:, :2])
    np.testing.assert_array_equal(clipped[[0, 2, 3], 2], leaves(1)[3][[0, 2, 3], 2])


def test_a_nan_leaves_the_whole_gradient_unclipped() -> None:
    poisoned = leaves(1, 100.0)
    poisoned[0] = np.float32(np.nan)
    clipped, _ = update(CLIPS["clip_by_global_norm"][0], poisoned)
    chex.assert_trees_all_equal(clipped, poisoned)


def test_an_infinite_norm_gives_zeros_and_nan_only_where_the_gradient_is_infinite() -> None:
    tx = CLIPS["clip_by_global_norm"][0]
    finite = {"huge": jnp.full(3, 3e38), "small": jnp.ones(2)}
    chex.assert_trees_all_equal(update(tx, finite)[0], jax.tree.map(jnp.zeros_like, finite))
    infinite = {"huge": jnp.array([1.0, jnp.inf]), "small": jnp.ones(2)}
    clipped, _ = update(tx, infinite)
    np.testing.assert_array_equal(clipped["huge"], [0.0, np.nan])
    np.testing.assert_array_equal(clipped["small"], [0.0, 0.0])


@pytest.mark.parametrize(
    ("name", "report"),
    in_turn(
        ["clip", "clip_by_norm", "clip_by_block_rms", "clip_by_global_norm"],
        [False, True],
        "with a report and without",
    ),
)
def test_limit_may_be_a_schedule(name: str, report: bool) -> None:
    limits = [0.5, 2.0, 0.25]
    tx = getattr(adamx, name)(lambda count: jnp.asarray(limits)[count], report=report)
    state = tx.init(PARAMS)
    for i, limit in enumerate(limits):
        assert state.count == i
        clipped, state = tx.update(leaves(i), state)
        for u, exact in zip(clipped, getattr(links, name)(leaves(i), limit), strict=True):
            np.testing.assert_allclose(u, exact, rtol=2e-6)


def test_a_scheduled_limit_of_zero_gives_zero() -> None:
    tx = adamx.clip_by_global_norm(lambda count: 0.0 * count)
    for given_ in (jnp.zeros(2), jnp.ones(2)):
        np.testing.assert_array_equal(update(tx, given_)[0], [0.0, 0.0])


def clipped_parts(name: str, before: list[np.ndarray], after: list[np.ndarray]) -> list[bool]:
    """What the reported fraction is a fraction of."""
    changed = [~np.isclose(u, v, rtol=1e-6) for u, v in zip(before, after, strict=True)]
    if name == "clip_by_global_norm":
        return [any(c.any() for c in changed)]
    if name in ("clip_by_norm", "clip_by_block_rms"):
        return [c.any() for c in changed]
    if name == "clip":
        return [x for c in changed for x in c.ravel()]
    # One unit per scalar or vector, one per output of what has more axes.
    axes = [
        tuple(range(c.ndim if c.ndim < 2 else max(1, (c.ndim - 1) * (c.ndim > 3)))) for c in changed
    ]
    return [x for c, a in zip(changed, axes, strict=True) for x in np.atleast_1d(c.any(a)).ravel()]


@every_clip
def test_report_says_what_was_done(name: str) -> None:
    tx, (plain, oracle, _) = reporting(name), CLIPS[name]
    state = tx.init(PARAMS)
    shares = []
    for seed, scale in enumerate([1.0, 1e-5, 3.0, 0.4]):
        given_ = leaves(seed, scale)
        given_[-1] = given_[-1] * np.float32(scale)
        clipped, after = tx.update(given_, state, PARAMS)
        chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
        chex.assert_trees_all_equal(clipped, update(plain, given_)[0])
        state, exact = after, oracle(given_)
        parts = clipped_parts(name, given_, exact)
        shares.append(np.mean(parts))
        metrics = state.metrics()
        assert [*metrics] == [
            f"{name}/{x}" for x in ("norm_before", "norm_after", "clipped_fraction")
        ]
        expected = [links.norm(given_), links.norm(exact), np.mean(shares)]
        np.testing.assert_allclose([*metrics.values()], expected, rtol=1e-5, atol=1e-12)
        assert {x.dtype for x in metrics.values()} == {jnp.dtype("float32")}
    assert state.count == 4
    assert 0 < np.mean(shares) < 1


@every_clip
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_report_survives_what_is_not_finite(name: str, bad: float) -> None:
    """The numbers of the bad step may be NaN, those of later ones are not."""
    tx = reporting(name)
    poisoned = leaves(1)
    poisoned[3][1, 2] = bad
    _, state = update(tx, poisoned)
    assert 0.0 <= state.clipped_fraction <= 1.0
    assert not np.isfinite(state.norm_before)
    _, state = update(tx, leaves(2), state)
    assert all(np.isfinite(x) for x in state)


@every_clip
def test_report_of_nothing(name: str) -> None:
    nothing = {"a": None, "b": jnp.zeros((0, 3)), "c": jnp.arange(3)}
    clipped, state = update(reporting(name), nothing, params=nothing)
    assert clipped["a"] is None
    chex.assert_trees_all_equal(clipped["c"], nothing["c"])
    assert [float(x) for x in state] == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("name", [name for name in CLIPS if name != "clip_by_global_norm"])
def test_an_empty_leaf_is_no_part_of_the_fraction(name: str) -> None:
    large = {"empty": jnp.zeros((0, 3)), "large": jnp.full(4, 100.0)}
    _, state = update(reporting(name), large, params=jax.tree.map(jnp.zeros_like, large))
    assert state.clipped_fraction == 1.0


def test_metrics_of_a_whole_recipe() -> None:
    tx = adamx.chain(
        adamx.clip_spikes(3.0, warmup_steps=1, report=True), adamx.clip(1.0, report=True)
    )
    _, state = update(tx, leaves(1))
    assert {*adamx.metrics(state)} == {
        *(f"clip_spikes/{x}" for x in ("norm_mean", "norm_std")),
        *(
            f"{name}/{x}"
            for name in ("clip_spikes", "clip")
            for x in ("norm_before", "norm_after", "clipped_fraction")
        ),
    }


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_statistics_are_those_of_the_weighted_history(decay: float) -> None:
    norms = np.random.default_rng(0).uniform(1.0, 3.0, 60)
    found = init_statistics()
    for t in range(1, len(norms) + 1):
        found = update_statistics(found, jnp.float32(norms[t - 1]), decay)
        mean, variance = links.statistics(norms[:t], decay)
        np.testing.assert_allclose([found.mean, found.variance], [mean, variance], rtol=2e-5)
    assert found.count == 60


def test_statistics_do_not_cancel() -> None:
    """The mean of squares minus the square of the mean would be off by 0.06 here."""
    found = init_statistics()
    for t in range(200):
        found = update_statistics(found, jnp.float32(1000.0 + 0.1 * (-1) ** t), 0.99)
    np.testing.assert_allclose(found.variance, 0.01, rtol=0.02)


def test_statistics_ignore_what_is_not_finite_and_keep_the_largest_float() -> None:
    found = update_statistics(init_statistics(), jnp.float32(2.0), 0.9)
    for bad in (jnp.nan, jnp.inf):
        chex.assert_trees_all_equal(update_statistics(found, jnp.float32(bad), 0.9), found)
    empty = init_statistics()
    chex.assert_trees_all_equal(update_statistics(empty, jnp.float32(jnp.nan), 0.9), empty)
    for norm in (3e38, 0.0, 3e38):
        found = update_statistics(found, jnp.float32(norm), 0.9)
    assert all(np.isfinite(x) for x in found)
    assert threshold(found, 2.0, 5) == np.inf
    assert threshold(found, 0.0, 4) == found.mean


def spiky(steps: int) -> list[list[np.ndarray]]:
    """Gradients of about one size, with spikes in steps 3, 12 and 13, the first during warm-up."""
    grads = [leaves(seed) for seed in range(steps)]
    return [
        [np.asarray(u * np.float32(50.0 if i in (3, 12, 13) else 1.0)) for u in g]
        for i, g in enumerate(grads)
    ]


@pytest.mark.parametrize(("decay", "warmup"), [(0.9, 5), (0.5, 1)])
def test_spikes_are_clipped_as_the_definition_says(decay: float, warmup: int) -> None:
    tx = adamx.clip_spikes(2.0, decay, warmup, report=True)
    grads = spiky(20)
    exact, seen = links.clip_spikes(grads, 2.0, decay, warmup)
    state = tx.init(PARAMS)
    step = jax.jit(tx.update)
    for t, (given_, expected) in enumerate(zip(grads, exact, strict=True), start=1):
        clipped, state = step(given_, state)
        for u, e in zip(clipped, expected, strict=True):
            np.testing.assert_allclose(u, e, rtol=2e-4)
        mean, variance = links.statistics(seen[:t], decay)
        np.testing.assert_allclose(state.statistics.mean, mean, rtol=1e-4)
        np.testing.assert_allclose(
            state.metrics()["clip_spikes/norm_std"], variance**0.5, rtol=1e-3
        )
    assert state.report.count == state.statistics.count == 20
    np.testing.assert_allclose(state.report.norm_after, links.norm(exact[-1]), rtol=1e-4)


def test_one_spike_does_not_poison_what_is_usual() -> None:
    tx = adamx.clip_spikes(3.0, 0.9, 10)
    rng = np.random.default_rng(0)
    state = tx.init(None)
    for norm in rng.uniform(0.9, 1.1, 30):
        _, state = tx.update(jnp.float32(norm), state)
    before = state.statistics.mean
    clipped, state = tx.update(jnp.float32(1e6), state)
    assert clipped < 1.5
    assert abs(state.statistics.mean - before) < 0.1
    # A lasting change is followed: the limit rises until nothing is clipped.
    for _ in range(60):
        clipped, state = tx.update(jnp.float32(3.0), state)
    assert clipped == 3.0


def test_what_is_not_finite_is_not_usual() -> None:
    tx = adamx.clip_spikes(3.0, 0.9, 2)
    state = tx.init(None)
    passed, after = tx.update(jnp.array([jnp.inf, 1.0]), state)
    np.testing.assert_array_equal(passed, [np.inf, 1.0])
    chex.assert_trees_all_equal(after, state)
    for norm in (1.0, 2.0):
        _, state = tx.update(jnp.array([norm, 0.0]), state)
    for bad, expected in ((jnp.inf, [np.nan, 0.0]), (jnp.nan, [np.nan, 1.0]), (3e38, [0.0, 0.0])):
        clipped, after = tx.update(jnp.array([bad, 1.0]), state)
        np.testing.assert_array_equal(clipped, expected)
        chex.assert_trees_all_equal(after, state)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 4, 1), (3, 1), (1, 3)])
def test_unitwise_norm(shape: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(0).standard_normal(shape), np.float32)
    np.testing.assert_allclose(adamx.unitwise_norm(x), links.units(x), rtol=1e-6)
    np.testing.assert_allclose(adamx.unitwise_norm(x), optax.transforms.unitwise_norm(x), rtol=1e-6)
    for axis in [(-1,), 0, (0, -1)] if len(shape) > 1 else []:
        np.testing.assert_allclose(
            adamx.unitwise_norm(x, axis),
            np.broadcast_to(np.linalg.norm(np.float64(x), axis=axis, keepdims=True), shape),
            rtol=1e-6,
        )


def test_units_along_chosen_axes() -> None:
    """Units of rows instead of columns are units of columns of the transposed leaf."""
    u, p = leaves(1)[3], PARAMS[3]
    by_row, _ = update(adamx.adaptive_grad_clip(0.1, axis=1), u, params=p)
    by_column, _ = update(adamx.adaptive_grad_clip(0.1), u.T, params=p.T)
    np.testing.assert_array_equal(by_row, by_column.T)


@every_clip
def test_shards_of_leaves_are_clipped_together(name: str) -> None:
    """Under `vmap` with an axis name every leaf is a shard; here along its first axis."""
    plain = reporting(name)
    sharded = plain.replace(axis_name="shards")
    big = {"v": np.float32(np.arange(6.0)) - 2, "w": leaves(1)[4]}
    params = {"v": np.float32(np.ones(6)), "w": PARAMS[4]}
    clipped, state = update(plain, big, params=params)

    def shards(x: np.ndarray) -> np.ndarray:
        return x.reshape(2, -1, *x.shape[1:])

    together = jax.vmap(
        sharded.update, in_axes=(0, None, 0), out_axes=(0, None), axis_name="shards"
    )
    clipped_shards, state_of_shards = together(
        jax.tree.map(shards, big), plain.init(params), jax.tree.map(shards, params)
    )
    chex.assert_trees_all_close(clipped_shards, jax.tree.map(shards, clipped), rtol=1e-6)
    chex.assert_trees_all_close(state_of_shards, state, rtol=1e-6)


@pytest.mark.eight_devices
@pytest.mark.parametrize("check", [True, False], ids=["checked", "unchecked"])
def test_devices_agree_inside_shard_map(check: bool) -> None:
    """On 4 devices: leaves sharded over both axes, over one, over none."""
    axes = ("x", "y")
    mesh = jax.make_mesh((2, 2), axes, axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:4])
    both, everywhere = PartitionSpec(axes), PartitionSpec()
    specs = {"both": both, "one": PartitionSpec("y"), "none": everywhere}
    grads = {"both": jnp.arange(16.0).reshape(8, 2) - 5, "one": jnp.arange(4.0)}
    if check:
        grads["none"] = jnp.ones(3)
    else:  # Nothing is known to be replicated, so everything has to be sharded.
        specs, grads = dict.fromkeys(specs, both), {**grads, "none": jnp.ones(4)}
    params = jax.tree.map(lambda g: 0.1 * g + 0.05, grads)
    clips = (
        adamx.clip(1.5, report=True),
        adamx.clip_by_norm(1.0, report=True),
        adamx.clip_by_block_rms(0.5, report=True),
        adamx.clip_by_global_norm(1.0, report=True),
        adamx.clip_spikes(1.0, warmup_steps=1, report=True),
        adamx.adaptive_grad_clip(0.01, report=True),
    )

    def clipped(axis_name: Any, grads: Any, params: Any) -> Any:
        named = [tx.replace(axis_name=axis_name) for tx in clips]
        return [tx.update(grads, tx.init(params), params) for tx in named]

    mapped = jax.shard_map(
        functools.partial(clipped, axes),
        mesh=mesh,
        in_specs=(specs, specs),
        out_specs=[(specs, everywhere)] * len(clips),
        check_vma=check,
    )
    expected = jax.jit(functools.partial(clipped, None))(grads, params)
    for found, wanted, tx in zip(jax.jit(mapped)(grads, params), expected, clips, strict=True):
        for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-6, err_msg=repr(tx))


def test_an_axis_that_is_not_mapped_is_named() -> None:
    with pytest.raises(ValueError, match=r"axis_name='data' names no axis here"):
        update(adamx.clip_by_global_norm(1.0, axis_name="data"), jnp.ones(2))


MAKERS = {
    **{name: lambda report, tx=tx: tx.replace(report=report) for name, (tx, _, _) in CLIPS.items()},
    "clip_spikes": lambda report: adamx.clip_spikes(3.0, report=report),
}


@in_place
@pytest.mark.parametrize(
    ("name", "report"), in_turn(MAKERS, [False, True], "with a report and without")
)
def test_needs_no_temporary_of_the_size_of_the_gradient(name: str, report: bool) -> None:
    tx = adamx.chain(MAKERS[name](report), adamx.adamw(1e-3))
    shapes = {"vector": (1 << 20,), "matrix": (1024, 512), "small": (32, 32), "bias": (512,)}
    params = {k: jax.ShapeDtypeStruct(shape, jnp.float32) for k, shape in shapes.items()}
    # A few numbers for each unit, where 6 MB would be the size of the gradient.
    assert compile_step(tx, params).memory_analysis().temp_size_in_bytes < 32 * SCRATCH


def test_needs_parameters_only_to_compare_with_them() -> None:
    with pytest.raises(ValueError, match=r"adaptive_grad_clip reads the parameters"):
        adamx.adaptive_grad_clip(0.1).update(jnp.ones(2), adamx.EmptyState())


def test_unitwise_norms_of_whole_numbers_do_not_wrap_around() -> None:
    np.testing.assert_allclose(adamx.unitwise_norm(np.full((2, 2), 100_000)), 1e5 * 2**0.5)
    for wrong in ("x", {"w": jnp.ones(2)}):
        with pytest.raises(TypeError, match="unitwise_norm: `x` must be an array of numbers"):
            adamx.unitwise_norm(wrong)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: adamx.clip(-1.0),
            ValueError,
            r"clip: `max_delta` must be in \[0, inf\), got",
        ),
        (lambda: adamx.clip_by_norm(-1.0), ValueError, r"`max_norm` must be in \[0, inf\)"),
        (lambda: adamx.clip_by_block_rms("1"), TypeError, r"`threshold` must be a number"),
        (lambda: adamx.clip_by_global_norm(float("nan")), ValueError, r"`max_norm`.*got nan"),
        (lambda: adamx.clip_by_global_norm(1.0, report=1), TypeError, "`report` must be True or"),
        (lambda: adamx.clip(1.0, axis_name=0), TypeError, "`axis_name` must be an axis name"),
        (lambda: adamx.adaptive_grad_clip(0.1, -1.0), ValueError, r"`eps` must be in \[0, inf\)"),
        (lambda: adamx.adaptive_grad_clip(0.1, axis="x"), TypeError, "`axis` must be an axis num"),
        (lambda: adamx.adaptive_grad_clip(0.1, axis=True), TypeError, "`axis` must be an axis"),
        (lambda: adamx.clip_spikes(-1.0), ValueError, r"`num_std` must be in \[0, inf\)"),
        (lambda: adamx.clip_spikes(3.0, 1.0), ValueError, r"`decay` must be in \[0, 1\)"),
        (lambda: adamx.clip_spikes(3.0, 0.9, 0), ValueError, "`warmup_steps` must be at least 1"),
    ],
)
def test_bad_arguments_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("axis", "shape", "message"),
    [
        ((0, 3), (2, 2), r"updates at \['w'\]: `axis`=\(0, 3\) does not fit the shape \(2, 2\)"),
        (None, (2,) * 6, r"updates at \['w'\]: no units are known in the shape .*write `axis`"),
    ],
)
def test_units_that_do_not_fit_are_named(axis: Any, shape: Any, message: str) -> None:
    given_ = {"b": jnp.ones((2, 2, 2, 2)), "w": jnp.ones(shape)}
    with pytest.raises(ValueError, match=message):
        update(adamx.adaptive_grad_clip(0.1, axis=axis), given_, params=given_)
    with pytest.raises(ValueError, match="unitwise_norm: "):
        adamx.unitwise_norm(given_["w"], axis)


def test_a_report_needs_its_own_state() -> None:
    tx = adamx.clip(1.0, report=True)
    with pytest.raises(TypeError, match=r"clip: the state must be the ClipReport\(count, .*"):
        tx.update(jnp.ones(2), adamx.clip(1.0).init(None))
