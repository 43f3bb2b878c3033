"""What is saved comes back, in other containers too; what was damaged never comes back as something
else, and a failed save or load leaves everything as it was."""

import collections
import dataclasses
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import chex
import flax.core
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import adamx
from adamx.core.checks import check_depth
from adamx.interop import export, flat_files
from tests.versions import enable_x64

SUFFIXES = (".npz", ".safetensors")
every_format = pytest.mark.parametrize("suffix", SUFFIXES)


def params(dtype: str = "float32") -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "dense": {"b": jnp.asarray(rng.standard_normal(3), dtype), "w": jnp.ones((2, 3), dtype)},
        "scale": jnp.asarray(2.5, dtype),
    }


TX = adamx.chain(
    adamx.clip_by_global_norm(1.0),
    adamx.amsgrad(adamx.linear_schedule(0.1, 0.01, 9)),
    adamx.ema_params(0.9),
)


def trained() -> tuple[Any, Any]:
    """Parameters and state after two steps."""
    now, state = params(), TX.init(params())
    for _ in range(2):
        now, state = TX.step(params(), state, now)
    return now, state


def same(first: Any, second: Any) -> bool:
    """Structure, types, dtypes and every bit."""

    def bits(x: Any) -> Any:
        if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        return type(x), str(np.asarray(x).dtype), np.shape(x), np.asarray(x).tobytes()

    return jax.tree.structure(first) == jax.tree.structure(second) and all(
        bits(a) == bits(b)
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    )


@every_format
def test_a_run_goes_on_from_a_file_as_if_nothing_had_happened(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    now, state = trained()
    export.save(path, {"params": now, "state": state}, adamx.get_config(TX))

    tx = adamx.from_config(export.load_config(path))
    assert tx == TX
    like = {"params": params(), "state": jax.eval_shape(tx.init, params())}
    loaded = export.load(path, like, adamx.get_config(tx))
    assert same(loaded, {"params": now, "state": state})
    assert same(tx.step(params(), loaded["state"], loaded["params"]), TX.step(params(), state, now))


DTYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int4", "uint4"),
    *("float16", "bfloat16", "float32", "float8_e4m3fn", "float8_e5m2", "complex64"),
)


@every_format
def test_every_dtype_comes_back_bit_by_bit(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"all{suffix}"
    numbers = np.arange(6).reshape(2, 3)
    tree = {name: jnp.asarray(numbers, name) for name in DTYPES}
    tree |= {f"0d_{name}": jnp.asarray(1, name) for name in DTYPES}
    tree |= {f"empty_{name}": jnp.zeros((0, 2), name) for name in DTYPES}
    tree["nan"] = jnp.array([jnp.nan, -jnp.nan, jnp.inf, -0.0])
    export.save(path, tree)
    assert same(export.load(path, jax.eval_shape(lambda: tree)), tree)


@every_format
def test_numpy_and_python_numbers_stay_what_they_are(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"all{suffix}"
    tree = {
        "f8": np.arange(3.0),
        "c16": np.array([1 + 2j]),
        "i8": np.arange(4),
        "half": 0.5,
        "n": 3,
        "yes": True,
        "i": 1j,
    }
    swapped = {**tree, "f8": tree["f8"].astype(">f8"), "i8": np.asfortranarray(tree["i8"])}
    export.save(path, swapped)
    assert same(export.load(path, tree), tree)
    with enable_x64(True):
        like = {"f8": jax.ShapeDtypeStruct((3,), "float64")}
        export.save(path, {"f8": tree["f8"]})
        assert same(export.load(path, like), {"f8": jnp.arange(3.0)})
    with pytest.raises(ValueError, match="f8: float64 needs jax's 64-bit mode"):
        export.load(path, like)


@pytest.mark.parametrize("kind", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_random_keys_come_back(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.npz"
    tree = {"key": jax.random.key(7, impl=kind), "keys": jax.random.split(jax.random.key(1), 3)}
    export.save(path, tree)
    loaded = export.load(path, jax.eval_shape(lambda: tree))
    assert loaded["key"].dtype == tree["key"].dtype
    assert (jax.random.bits(loaded["key"]) == jax.random.bits(tree["key"])).all()
    assert same(export.from_flat(export.to_flat(tree), tree)["keys"], tree["keys"])
    other = "rbg" if kind == "threefry2x32" else "threefry2x32"
    with pytest.raises(ValueError, match=r"key: key<.*>\[\], but key<.*>\[\] is asked for"):
        export.load(path, {**tree, "key": jax.random.key(7, impl=other)})
    with pytest.raises(ValueError, match=r"key: .*, but .* is asked for"):
        export.from_flat({"key": np.zeros(3, np.uint32)}, {"key": tree["key"]})


class Pair(NamedTuple):
    b: Any
    w: Any


@flax.struct.dataclass
class FlaxPair:
    b: Any
    w: Any


@chex.dataclass
class ChexPair:
    b: Any
    w: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class JaxPair:
    b: Any
    w: Any


CONTAINERS = {
    "dict": dict,
    "ordered": lambda **leaves: collections.OrderedDict(reversed(leaves.items())),
    "frozen": lambda **leaves: flax.core.freeze(leaves),
    "namedtuple": Pair,
    "flax": FlaxPair,
    "chex": ChexPair,
    "jax": JaxPair,
}


@pytest.mark.parametrize("into", CONTAINERS)
def test_containers_may_change_if_the_names_stay(into: str) -> None:
    given = {"b": jnp.arange(2), "w": [jnp.ones(1), (jnp.zeros(3), None)]}
    flat = export.to_flat(given)
    assert list(flat) == ["b", "w/0", "w/1/0"]
    like = CONTAINERS[into](b=jnp.zeros(2, int), w=(jnp.zeros(1), [jnp.ones(3), None]))
    loaded = export.from_flat(flat, like)
    assert jax.tree.structure(loaded) == jax.tree.structure(like)
    got = dict(zip(export.to_flat(like), jax.tree.leaves(loaded), strict=True))
    for path, array in flat.items():
        np.testing.assert_array_equal(got[path], array)


@pytest.mark.eight_devices
def test_leaves_come_where_they_are_asked_for_and_own_their_memory() -> None:
    mesh = jax.make_mesh((2,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    likes = [
        jax.device_put(jnp.zeros(4), split),
        jax.ShapeDtypeStruct((4,), "float32", sharding=split),
    ]
    flat = {"w": np.arange(4, dtype=np.float32)}
    for like in likes:
        loaded = export.from_flat(flat, {"w": like})["w"]
        assert loaded.sharding == split
        np.testing.assert_array_equal(loaded, flat["w"])
    loaded = export.from_flat(flat, {"w": np.zeros(4, np.float32)})["w"]
    loaded[0] = 5
    assert flat["w"][0] == 0


@every_format
def test_any_name_is_a_path_and_so_is_none(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    names = ("x.npy", "adamx.json", "../up", "/abs", "a b", "\u00fc", "a\\b", "file", "", "0")
    for tree in ({name: jnp.full(2, i) for i, name in enumerate(names)}, 2.5, {}, {"none": None}):
        export.save(path, tree)
        assert same(export.load(path, tree), tree)
    if suffix == ".safetensors":
        with pytest.raises(ValueError, match="the name '__metadata__' for itself"):
            export.save(path, {"__metadata__": 1.0})
    assert os.listdir(tmp_path) == [path.name]


def test_other_programs_can_read_the_files(tmp_path: Path) -> None:
    tree = {"a": {"b": jnp.arange(3)}, "file": jnp.ones(2, "bfloat16")}
    for suffix in SUFFIXES:
        export.save(tmp_path / f"x{suffix}", tree, {"lr": 0.1})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["a/b"], [0, 1, 2])
        assert arrays["file"].shape == (2, 2)
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        header = json.loads(archive.read("adamx.json"))
    assert header["config"] == {"lr": 0.1}
    assert header["leaves"]["file"] == {"dtype": "bfloat16", "shape": [2]}
    tensors = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(tensors["a/b"], [0, 1, 2])


SMALL = {"a": jnp.arange(3.0), "b": jnp.ones((), "bfloat16")}


@every_format
def test_a_truncated_file_is_refused_at_every_length(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    export.save(path, SMALL, {"lr": 0.1})
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 29), *range(8), *range(len(whole) - 30, len(whole))}:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged, or was not written by"):
            export.load(path, SMALL)


@every_format
def test_a_flipped_bit_is_refused_or_changes_nothing(suffix: str, tmp_path: Path) -> None:
    """Some bytes of a zip mean nothing (dates, permissions); no other file is accepted."""
    path = tmp_path / f"x{suffix}"
    export.save(path, SMALL, {"lr": 0.1})
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            loaded = export.load(path, SMALL, {"lr": 0.1})
        except ValueError:
            refused += 1
        else:
            assert same(loaded, SMALL), place
    assert refused > 0.7 * len(range(len(whole)))


def contents_of(path: Path) -> flat_files.Contents:
    with flat_files._open_npz(path) as file:
        return flat_files.Contents(file.header, {name: file.array(name) for name in file.described})


def rewritten(path: Path, **changes: Any) -> None:
    """The file with another header."""
    contents = contents_of(path)
    header = {**contents.header, **changes}
    with open(path, "wb") as file:
        flat_files._write_npz(file, contents.arrays, json.dumps(header))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"version 2; this version of adamx reads 'adamx', version 1"),
        ({"format": "other"}, r"format 'other'"),
        ({"checksum": "0" * 64}, r"was altered .* checksum is wrong"),
        ({"config": {"lr": 0.2}}, r"was altered"),
        ({"leaves": {}}, r"was altered"),
    ],
)
def test_another_header_is_refused(changes: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export.save(path, SMALL, {"lr": 0.1})
    rewritten(path, **changes)
    for read in (lambda: export.load(path, SMALL), lambda: export.load_config(path)):
        with pytest.raises(ValueError, match=message):
            read()


def test_an_array_put_in_place_of_another_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export.save(path, SMALL)
    contents = contents_of(path)
    contents.arrays["a"][0] = 5.0
    with open(path, "wb") as file:
        flat_files._write_npz(file, contents.arrays, json.dumps(contents.header))
    with pytest.raises(ValueError, match="was altered"):
        export.load(path, SMALL)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export.save(path, SMALL)
    with zipfile.ZipFile(path, "a") as archive, archive.open("evil.npy", "w") as entry:
        np.lib.format.write_array(entry, np.array([print], object), allow_pickle=True)
    with pytest.raises(ValueError, match="was altered"):
        export.load(path, SMALL)
    with flat_files._open_npz(path) as file, pytest.raises(ValueError, match="allow_pickle=False"):
        file.array("evil")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.ones(3))
    safetensors.numpy.save_file({"a": np.ones(3)}, tmp_path / "x.safetensors")
    (tmp_path / "y.npz").write_text("nothing of the kind")
    for name in ("x.npz", "x.safetensors", "y.npz"):
        with pytest.raises(ValueError, match=r"or was not written by `export.save`"):
            export.load(tmp_path / name, SMALL)
    with pytest.raises(FileNotFoundError):
        export.load(tmp_path / "z.npz", SMALL)
    for call in (lambda p: export.save(p, SMALL), lambda p: export.load(p, SMALL)):
        with pytest.raises(ValueError, match=r"must end in .npz or .safetensors"):
            call(tmp_path / "x.pickle")


def test_every_mismatch_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export.save(path, {"a": jnp.zeros(3), "b": jnp.zeros(2), "c": 1.0})
    with pytest.raises(ValueError, match=r"missing: d\n  unexpected: c"):
        export.load(path, {"a": jnp.zeros(3), "b": jnp.zeros(2), "d": 1.0})
    like = {"a": jnp.zeros((3, 1)), "b": jnp.zeros(2, "bfloat16"), "c": 1.0}
    with pytest.raises(ValueError, match="does not fit") as raised:
        export.load(path, like)
    text = str(raised.value)
    assert "a: float32[3], but float32[3, 1] is asked for" in text
    assert "b: float32[2], but bfloat16[2] is asked for" in text
    many = {str(i): jnp.zeros(2) for i in range(9)}
    with pytest.raises(ValueError, match="and 4 more"):
        export.from_flat(export.to_flat(many), {key: jnp.zeros(3) for key in many})


def test_another_configuration_is_refused_by_the_entry_that_differs(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export.save(path, SMALL, adamx.get_config(adamx.adam(0.1)))
    export.load(path, SMALL, adamx.get_config(adamx.adam(0.1)))
    for tx, message in (
        (adamx.adam(0.2), r"config.links\[1\].learning_rate was 0.1, now 0.2"),
        (adamx.adamw(0.1), r"config.links was \["),
        (adamx.scale(0.1), r"config was chain, now scale$"),
    ):
        with pytest.raises(ValueError, match=message):
            export.load(path, SMALL, adamx.get_config(tx))
    export.save(path, SMALL)
    with pytest.raises(ValueError, match="config was None"):
        export.load(path, SMALL, {"lr": 0.1})


def test_a_transformation_is_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(
        TypeError, match=r"save: `config` must .*Chain; give `adamx.get_config\(tx\)`"
    ):
        export.save(path, SMALL, adamx.adam(0.1))  # type: ignore[arg-type]
    assert not path.exists()
    export.save(path, SMALL)
    with pytest.raises(
        TypeError, match=r"load: `config` must .*Chain; give `adamx.get_config\(tx\)`"
    ):
        export.load(path, SMALL, adamx.adam(0.1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"`config` must be a dictionary, got str$"):
        export.save(path, SMALL, "adam")  # type: ignore[arg-type]


def test_what_is_no_array_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export.save(path, SMALL)
    before = path.read_bytes()
    with pytest.raises(TypeError, match="'name' is 'adam', which is no array"):
        export.save(path, {"name": "adam"})
    with pytest.raises(ValueError, match="two leaves have the path 'a/b'"):
        export.save(path, {"a": {"b": 1.0}, "a/b": 2.0})
    with pytest.raises(TypeError, match="JSON"):
        export.save(path, SMALL, {"f": print})
    with pytest.raises(ValueError, match="JSON"):
        export.save(path, SMALL, {"lr": float("nan")})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.npz"]


@every_format
def test_a_crash_while_writing_leaves_the_old_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{suffix}"
    export.save(path, SMALL)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        export.save(path, {"a": jnp.zeros(9)})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@every_format
def test_a_file_is_written_with_the_usual_permissions(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    export.save(tmp_path / f"x{suffix}", SMALL)
    modes = {os.stat(tmp_path / name).st_mode for name in ("usual", f"x{suffix}")}
    assert len(modes) == 1


def test_who_is_reading_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    export.save(path, SMALL)
    before = path.read_bytes()
    with open(path, "rb") as reader:
        export.save(path, {"a": jnp.zeros(9)})
        assert reader.read() == before
    assert export.load(path, {"a": jnp.ones(9)})["a"].sum() == 0


def test_without_safetensors_its_files_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    export.save(path, SMALL)
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    for call in (lambda: export.save(path, SMALL), lambda: export.load(path, SMALL)):
        with pytest.raises(ModuleNotFoundError, match="safetensors"):
            call()


@pytest.mark.parametrize(
    "leaf",
    [
        "text",
        b"bytes",
        print,
        object(),
        np.array(["a", 1], object),
        np.array([1 + 0j], np.clongdouble),
        np.ones(2, np.longdouble),
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.datetime64("2020-01-01"),
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, "V3"),
        jax.ShapeDtypeStruct((2,), "float32"),
    ],
    ids=lambda leaf: type(leaf).__name__ + str(getattr(leaf, "dtype", "")),
)
def test_leaves_that_hold_no_numbers_are_named(leaf: Any, tmp_path: Path) -> None:
    for owner, call in (
        ("to_flat", export.to_flat),
        ("save", lambda tree: export.save(tmp_path / "x.npz", tree)),
    ):
        with pytest.raises(TypeError, match=f"^{owner}: 'a/b' is "):
            call({"a": {"b": leaf}})
    with pytest.raises(TypeError, match=r"^from_flat: 'b' is "):
        export.from_flat({"b": leaf}, {"b": jnp.zeros(2)})
    assert not [*tmp_path.iterdir()]


def test_what_is_traced_is_not_saved() -> None:
    with pytest.raises(TypeError, match=r"to_flat: 'a' is .*outside of `jit`"):
        jax.jit(lambda a: export.to_flat({"a": a}))(1.0)


@pytest.mark.parametrize("flat", [[1.0], None, "a", 3], ids=repr)
def test_flat_arrays_are_a_dictionary(flat: Any) -> None:
    with pytest.raises(TypeError, match="`flat` must be a dictionary of arrays by path"):
        export.from_flat(flat, {"a": 1.0})


def nested(kind: Any, depth: int) -> Any:
    value: Any = 1.0
    for _ in range(depth):
        value = [value] if kind is list else (value,) if kind is tuple else {"a": value}
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict])
def test_endless_nesting_is_refused_and_breaks_nothing(kind: Any, tmp_path: Path) -> None:
    path, deep = tmp_path / "x.npz", nested(kind, 10_000)
    export.save(path, SMALL)
    for owner, call in (
        ("to_flat", lambda: export.to_flat(deep)),
        ("from_flat", lambda: export.from_flat({}, deep)),
        ("save", lambda: export.save(path, deep)),
        ("save", lambda: export.save(path, SMALL, {"a": deep})),
        ("load", lambda: export.load(path, deep)),
        ("load", lambda: export.load(path, SMALL, {"a": deep})),
    ):
        with pytest.raises(ValueError, match=f"^{owner}: nested more than"):
            call()
    assert same(export.load(path, SMALL), SMALL)
    export.from_flat(export.to_flat(nested(kind, 200)), nested(kind, 200))
    twice: Any = 1.0
    for _ in range(40):  # 2**40 leaves, but 40 lists
        twice = [twice, twice]
    check_depth("here", twice)


@pytest.mark.parametrize(
    "config",
    [{"f": print}, {"a": {1, 2}}, {"a": np.ones(2)}, {"a": float("nan")}, {(1, 2): 3}, {"a": 1j}],
    ids=repr,
)
def test_a_configuration_is_plain_json(config: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises((TypeError, ValueError), match=r"^save: `config` must be plain JSON: "):
        export.save(path, SMALL, config)
    export.save(path, SMALL)
    with pytest.raises((TypeError, ValueError), match=r"^load: `config` must be plain JSON: "):
        export.load(path, SMALL, config)


@every_format
def test_a_missing_file_or_folder_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"none{suffix}"
    for call in (lambda: export.load(path, SMALL), lambda: export.load_config(path)):
        with pytest.raises(FileNotFoundError, match=rf"there is no file .*none{suffix}"):
            call()
    with pytest.raises(FileNotFoundError, match=r"save: there is no folder .*none for x\."):
        export.save(tmp_path / "none" / f"x{suffix}", SMALL)
    for call in (lambda p: export.load(p, SMALL), lambda p: export.save(p, SMALL)):
        with pytest.raises(TypeError, match="`path` must be the path of a file, got 3"):
            call(3)


@every_format
def test_the_header_is_compared_before_an_array_is_read(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may say that it holds more than there is memory."""
    path = tmp_path / f"x{suffix}"
    export.save(path, SMALL, {"lr": 0.1})

    def no_array(*_: Any) -> None:
        raise AssertionError("an array was read")

    monkeypatch.setattr(np.lib.format, "read_array", no_array)
    monkeypatch.setattr(flat_files, "_checksum", no_array)
    for like, config, message in (
        ({**SMALL, "a": jnp.zeros(4)}, None, "a: float32\\[3\\], but float32\\[4\\]"),
        ({**SMALL, "b": jnp.ones(())}, None, "b: bfloat16\\[\\], but float32\\[\\]"),
        ({"a": SMALL["a"]}, None, "unexpected: b"),
        (SMALL, {"lr": 0.2}, "config.lr was 0.1, now 0.2"),
    ):
        with pytest.raises(ValueError, match=message):
            export.load(path, like, config)


def test_a_small_file_does_not_hold_much(tmp_path: Path) -> None:
    """Neither by compression nor by an array that is larger than the header says."""
    path = tmp_path / "x.npz"
    export.save(path, SMALL)
    contents = contents_of(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adamx.json", json.dumps(contents.header))
        for name, array in contents.arrays.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, array)
    for read in (lambda: export.load(path, SMALL), lambda: export.load_config(path)):
        with pytest.raises(ValueError, match=r"is damaged, .*adamx.json is compressed"):
            read()
    for wrong in (np.zeros(10**6, np.float32), np.zeros(3, np.float64), np.zeros((3, 1), "f4")):
        with open(path, "wb") as file:
            flat_files._write_npz(
                file, {**contents.arrays, "a": wrong}, json.dumps(contents.header)
            )
        with pytest.raises(ValueError, match=r"is damaged, .*'a' is float.*, not as it says"):
            export.load(path, SMALL)
