"""Writes tensorflow_adam.npz and tensorflow_sparse.npz: trajectories of TensorFlow's Adam.

    pip install tensorflow==2.21.0 tf_keras==2.21.0
    python tests/golden/tensorflow_adam.py

`legacy` is `tf_keras.optimizers.legacy.Adam`, the class of the TF 2.0-2.8 pages; `current` is
`tf_keras.optimizers.Adam`, the class behind the DTensor page.  A case is `<class>-<variant>`, its
arguments stand in `cases` (JSON).

tensorflow_adam.npz: two variables, `w` [3, 2] and `b` [4], get 16 gradients.

    gradients/<var>              [16, ...]  float32, the same for all cases, but for a `scale`
    initial/<var>                           float32
    <case>/<var>                 [16, ...]  after each step, in the variable's dtype (bfloat16 as
                                            float32)
    <case>/middle/<i>                       `variables` after step 8, in TensorFlow's order
    <case>/names                            JSON of their names
    <case>/config                           JSON of `get_config()`
    <case>/final/<var>                      after `finalize_variable_values`, current class only
    <case>/error                            instead of all that: what the constructor raised

tensorflow_sparse.npz: a table `w` [6, 3] gets `IndexedSlices` and `b` [4] gradients, 16 steps.

    initial/<var>                           float32
    slices/<t>/indices           [n]        int32, repeated in most steps; n is 0 in steps 4 and 9
    slices/<t>/values            [n, 3]     float32
    dense                        [16, 6, 3] float32, what the slices add up to
    gradients/b                  [16, 4]    float32
    num_rows                                6
    <case>/<var>                 [16, ...]  after each step
    <case>/final_slots/<i>                  `variables` after the last step
    <case>/names                            JSON of their names
"""

import json
import os
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
import tf_keras

STEPS, MIDDLE, ROWS = 16, 8, 6
SHAPES = {"w": (3, 2), "b": (4,)}
CLASSES = {
    "legacy": tf_keras.optimizers.legacy.Adam,
    "current": tf_keras.optimizers.Adam,
    "currentw": tf_keras.optimizers.AdamW,
}
SCHEDULES = {
    "ExponentialDecay": {"initial_learning_rate": 0.3, "decay_steps": 5, "decay_rate": 0.7},
    "InverseTimeDecay": {"initial_learning_rate": 0.3, "decay_steps": 3, "decay_rate": 0.5},
    "PiecewiseConstantDecay": {"boundaries": [4, 9], "values": [0.1, 0.0, 0.02]},
    "PolynomialDecay": {
        "initial_learning_rate": 0.3,
        "decay_steps": 6,
        "end_learning_rate": 0.01,
        "power": 2.0,
    },
    "CosineDecay": {"initial_learning_rate": 0.3, "decay_steps": 10, "alpha": 0.1},
    "CosineDecayRestarts": {"initial_learning_rate": 0.3, "first_decay_steps": 3, "alpha": 0.1},
}
# Other settings of the same classes.
SCHEDULE_VARIANTS = {
    "ExponentialDecay-staircase": {
        "initial_learning_rate": 0.3,
        "decay_steps": 5,
        "decay_rate": 0.7,
        "staircase": True,
    },
    "InverseTimeDecay-staircase": {
        "initial_learning_rate": 0.3,
        "decay_steps": 3,
        "decay_rate": 0.5,
        "staircase": True,
    },
    "PolynomialDecay-cycle": {
        "initial_learning_rate": 0.3,
        "decay_steps": 6,
        "end_learning_rate": 0.01,
        "cycle": True,
    },
    "CosineDecay-warmup": {
        "initial_learning_rate": 0.01,
        "decay_steps": 8,
        "alpha": 0.1,
        "warmup_target": 0.2,
        "warmup_steps": 4,
    },
    "CosineDecay-warmup_without_target": {
        "initial_learning_rate": 0.2,
        "decay_steps": 8,
        "warmup_steps": 4,
    },
    "CosineDecayRestarts-growing": {
        "initial_learning_rate": 0.3,
        "first_decay_steps": 3,
        "t_mul": 1.5,
        "m_mul": 0.8,
    },
}


def scheduled(name):
    return {"schedule": [name.partition("-")[0], {**SCHEDULES, **SCHEDULE_VARIANTS}[name]]}


# Betas that float32 holds exactly: the current class mixes `beta**t` of the rounded beta with the
# exact `1 - beta`.  The cases `plain` have the default betas.
BASE = {"learning_rate": 0.05, "beta_1": 0.875, "beta_2": 0.9375}
HYPER = {**BASE, "epsilon": 1e-3}
CLIPPED = {**BASE, "epsilon": 0.1}
CASES = {
    "legacy-plain": {},
    "legacy-plain_float64": {"dtype": "float64"},
    "legacy-plain_float16": {"dtype": "float16", "learning_rate": 0.05},
    # Whose squares float16 cannot hold.
    "legacy-small_float16": {"dtype": "float16", "learning_rate": 0.05, "scale": 1e-4},
    "legacy-plain_bfloat16": {"dtype": "bfloat16", "learning_rate": 0.05},
    "legacy-hyper": HYPER,
    "legacy-amsgrad": {**HYPER, "amsgrad": True},
    "legacy-epsilon_zero": {**BASE, "epsilon": 0.0},
    "legacy-lr": {**BASE, "lr": 0.02},
    "legacy-decay": {**BASE, "decay": 0.3},
    "legacy-decay_of_schedule": {**BASE, **scheduled("ExponentialDecay"), "decay": 0.3},
    "legacy-clipvalue": {**CLIPPED, "clipvalue": 0.5},
    "legacy-clipnorm": {**CLIPPED, "clipnorm": 0.7},
    "legacy-global_clipnorm": {**CLIPPED, "global_clipnorm": 0.7},
    "legacy-clipvalue_clipnorm": {
        **CLIPPED,
        "clipvalue": 0.5,
        "clipnorm": 0.7,
    },
    "legacy-clipvalue_global": {
        **CLIPPED,
        "clipvalue": 0.5,
        "global_clipnorm": 0.8,
    },
    "legacy-clipnorm_global": {"clipnorm": 0.5, "global_clipnorm": 0.8},
    "legacy-transformers": {**CLIPPED, "gradient_transformers": True},
    "legacy-transformers_clipnorm": {"gradient_transformers": True, "clipnorm": 1.0},
    "legacy-callables": {**BASE, "callables": True},
    "legacy-none": {**BASE, "none": True},
    "legacy-float64": {**BASE, "dtype": "float64"},
    "legacy-float16": {**BASE, "dtype": "float16"},
    "legacy-bfloat16": {**BASE, "dtype": "bfloat16"},
    "current-plain": {},
    "current-plain_float64": {"dtype": "float64"},
    "current-hyper": HYPER,
    "current-amsgrad": {**HYPER, "amsgrad": True},
    "current-adaptive_epsilon": {**HYPER, "adaptive_epsilon": True},
    "current-weight_decay": {**BASE, "weight_decay": 0.3},
    "current-weight_decay_schedule": {**BASE, **scheduled("ExponentialDecay"), "weight_decay": 0.3},
    "current-weight_decay_excluded": {**BASE, "weight_decay": 0.3, "exclude": ["b"]},
    "current-clipvalue": {**CLIPPED, "clipvalue": 0.5},
    "current-clipnorm": {**CLIPPED, "clipnorm": 0.7},
    "current-global_clipnorm": {**CLIPPED, "global_clipnorm": 0.7},
    "current-clipvalue_clipnorm": {
        **CLIPPED,
        "clipvalue": 0.5,
        "clipnorm": 0.7,
    },
    "current-clipnorm_global": {"clipnorm": 0.5, "global_clipnorm": 0.8},
    "current-decay": {"decay": 0.3},
    "current-ema": {**BASE, "use_ema": True, "ema_momentum": 0.8},
    "current-ema_overwrite": {
        **BASE,
        "use_ema": True,
        "ema_momentum": 0.8,
        "ema_overwrite_frequency": 3,
    },
    "current-ema_amsgrad": {
        **BASE,
        "amsgrad": True,
        "use_ema": True,
        "ema_momentum": 0.8,
    },
    "current-none": {**BASE, "none": True},
    "current-none_ema": {
        **BASE,
        "none": True,
        "use_ema": True,
        "ema_momentum": 0.8,
        "weight_decay": 0.3,
    },
    "current-callables": {**BASE, "callables": True},
    "current-float64": {**BASE, "dtype": "float64"},
    "current-float16": {**BASE, "dtype": "float16"},
    "current-bfloat16": {**BASE, "dtype": "bfloat16"},
    "currentw-plain": BASE,
    "currentw-weight_decay": {**HYPER, "weight_decay": 0.3, "amsgrad": True},
    **{f"legacy-{name}": {**BASE, **scheduled(name)} for name in (*SCHEDULES, *SCHEDULE_VARIANTS)},
    **{f"current-{name}": {**BASE, **scheduled(name)} for name in SCHEDULES},
}
SPARSE_CASES = {
    "legacy-plain": BASE,
    "legacy-amsgrad": {**HYPER, "amsgrad": True},
    "legacy-decay": {**BASE, "decay": 0.3},
    # These clip the slices before repeated rows are summed.
    "legacy-clipvalue": {**CLIPPED, "clipvalue": 0.5},
    "legacy-global_clipnorm": {**CLIPPED, "global_clipnorm": 0.7},
    "current-plain": BASE,
    "current-amsgrad": {**HYPER, "amsgrad": True},
    "current-weight_decay": {**BASE, "weight_decay": 0.3},
    "current-ema_overwrite": {
        **BASE,
        "use_ema": True,
        "ema_momentum": 0.8,
        "ema_overwrite_frequency": 3,
    },
    "current-clipnorm": {**CLIPPED, "clipnorm": 0.7},
}


def data():
    """Initial variables, and gradients that shrink by five orders of magnitude."""
    rng = np.random.default_rng(20141222)
    initial = {k: rng.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}
    size = np.geomspace(10.0, 1e-4, STEPS)
    gradients = {
        k: (rng.standard_normal((STEPS, *s)) * size.reshape(-1, *[1] * len(s))).astype(np.float32)
        for k, s in SHAPES.items()
    }
    return initial, gradients


def sparse_data():
    """A table, and slices with repeated rows, with one row, and with none."""
    rng = np.random.default_rng(20150507)
    initial = {
        "w": rng.standard_normal((ROWS, 3)).astype(np.float32),
        "b": rng.standard_normal(4).astype(np.float32),
    }
    slices, dense = [], np.zeros((STEPS, ROWS, 3), np.float32)
    for t in range(STEPS):
        n = 0 if t in (4, 9) else int(rng.integers(1, 7))
        indices = rng.integers(0, 4 if t < 12 else ROWS, n).astype(np.int32)
        values = rng.standard_normal((n, 3)).astype(np.float32)
        np.add.at(dense[t], indices, values)
        slices.append((indices, values))
    return initial, slices, dense, rng.standard_normal((STEPS, 4)).astype(np.float32)


def halve(pairs):
    """A gradient transformer."""
    return [(0.5 * g, v) for g, v in pairs]


def make(case, arguments, clock):
    """The optimizer; `clock` holds the step for the callables."""
    arguments = dict(arguments)
    for ours in ("dtype", "none", "exclude", "scale"):
        arguments.pop(ours, None)
    if "schedule" in arguments:
        name, config = arguments.pop("schedule")
        arguments["learning_rate"] = getattr(tf_keras.optimizers.schedules, name)(**config)
    if arguments.pop("callables", False):
        arguments["learning_rate"] = lambda: 0.1 / (1 + clock[0])
        if case.startswith("legacy"):
            arguments["beta_1"] = lambda: 0.5 + 0.02 * clock[0]
            arguments["beta_2"] = lambda: 0.9 - 0.01 * clock[0]
    if arguments.pop("gradient_transformers", False):
        arguments["gradient_transformers"] = [halve]
    return CLASSES[case.partition("-")[0]](**arguments)


def to_numpy(x):
    array = x.numpy()
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def all_variables(optimizer):
    """`variables` of the current class, `weights` of the legacy one, in order."""
    both = optimizer.variables
    return both() if callable(both) and not isinstance(both, list) else both


def config_of(optimizer):
    try:
        return json.dumps(optimizer.get_config(), default=float)
    except (TypeError, ValueError) as error:
        return json.dumps({"error": str(error)})


def run(case, arguments):
    initial, gradients = data()
    dtype = arguments.get("dtype", "float32")
    clock = [0]
    try:
        optimizer = make(case, arguments, clock)
    except (TypeError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    variables = {k: tf.Variable(x, dtype=dtype, name=k) for k, x in initial.items()}
    if "exclude" in arguments:
        optimizer.exclude_from_weight_decay(var_names=arguments["exclude"])
    out = {k: [] for k in variables}
    for step in range(STEPS):
        clock[0] = step
        scale = np.float32(arguments.get("scale", 1.0))
        pairs = [(tf.cast(scale * gradients[k][step], dtype), v) for k, v in variables.items()]
        if arguments.get("none") and step in (2, 3, 7):
            pairs[0] = (None, pairs[0][1])
        optimizer.apply_gradients(pairs)
        for k, v in variables.items():
            out[k].append(to_numpy(v))
        if step + 1 == MIDDLE:
            weights = all_variables(optimizer)
            out["names"] = json.dumps([v.name for v in weights])
            for i, v in enumerate(weights):
                out[f"middle/{i}"] = to_numpy(v)
    out["config"] = config_of(optimizer)
    if not case.startswith("legacy"):
        optimizer.finalize_variable_values(list(variables.values()))
        out |= {f"final/{k}": to_numpy(v) for k, v in variables.items()}
    return out


def run_sparse(case, arguments):
    initial, slices, _, dense_gradients = sparse_data()
    if not case.startswith("legacy"):
        arguments = {**arguments, "jit_compile": False}
    optimizer = make(case, arguments, [0])
    variables = {k: tf.Variable(x, name=k) for k, x in initial.items()}
    out = {k: [] for k in variables}
    for step, (indices, values) in enumerate(slices):
        gradient = tf.IndexedSlices(tf.constant(values), tf.constant(indices), (ROWS, 3))
        pairs = [(gradient, variables["w"]), (tf.constant(dense_gradients[step]), variables["b"])]
        optimizer.apply_gradients(pairs)
        for k, v in variables.items():
            out[k].append(to_numpy(v))
    weights = all_variables(optimizer)
    out["names"] = json.dumps([v.name for v in weights])
    return out | {f"final_slots/{i}": to_numpy(v) for i, v in enumerate(weights)}


def save(name, golden):
    path = Path(__file__).with_name(name)
    np.savez_compressed(path, **{k: np.asarray(x) for k, x in golden.items()})


if __name__ == "__main__":
    initial, slices, dense, dense_gradients = sparse_data()
    golden = {"cases": json.dumps(SPARSE_CASES), "dense": dense, "num_rows": ROWS}
    golden |= {"gradients/b": dense_gradients, **{f"initial/{k}": x for k, x in initial.items()}}
    for t, (indices, values) in enumerate(slices):
        golden |= {f"slices/{t}/indices": indices, f"slices/{t}/values": values}
    for case, arguments in SPARSE_CASES.items():
        golden |= {f"{case}/{k}": x for k, x in run_sparse(case, arguments).items()}
    save("tensorflow_sparse.npz", golden)

    initial, gradients = data()
    golden = {"cases": json.dumps(CASES)}
    golden |= {f"initial/{k}": x for k, x in initial.items()}
    golden |= {f"gradients/{k}": x for k, x in gradients.items()}
    for case, arguments in CASES.items():
        golden |= {f"{case}/{k}": x for k, x in run(case, arguments).items()}
    save("tensorflow_adam.npz", golden)
