"""Mistakes of one line each, and the tests that must notice them.

Spread over the kinds of property that tests/README.md lists.  A snippet stands exactly once in its
file; where the code has moved on, mend the row here.
"""

from __future__ import annotations

from typing import NamedTuple


class Mistake(NamedTuple):
    """Replaces `old` by `new` in one file of the checkout."""

    kind: str  # of property that breaks
    file: str
    old: str
    new: str
    noticed_by: str  # files or tests, as given to pytest


MISTAKES = (
    Mistake(
        "formula",
        "adamx/family/formula.py",
        "jnp.sqrt(nu_hat + s.eps_root) + s.eps",
        "jnp.sqrt(nu_hat + s.eps_root + s.eps)",
        "tests/adam/test_papers.py",
    ),
    Mistake(
        "formula: a moment",
        "adamx/family/formula.py",
        "return b * old + one_minus_b * new",
        "return b * old + new",
        "tests/adam/test_papers.py",
    ),
    Mistake(
        "bias correction",
        "adamx/family/formula.py",
        "mu_scale = 1.0 / hyperparameter.one_minus_power(b1, count)",
        "mu_scale = 1.0 / hyperparameter.one_minus_power(b1, count + 1)",
        "tests/adam/test_papers.py",
    ),
    Mistake(
        "Nesterov, as optax has it",
        "adamx/family/formula.py",
        "g_scale = (1.0 - b1) * mu_scale",
        "g_scale = mu_scale",
        "tests/adam/test_against_optax.py",
    ),
    Mistake(
        "epsilon hat, as Keras has it",
        "adamx/family/formula.py",
        "eps = eps * hyperparameter.sqrt(nu_scale)",
        "eps = eps * nu_scale",
        "tests/interop/test_keras_golden.py",
    ),
    Mistake(
        "a member of the family",
        "adamx/family/yogi.py",
        "jnp.where(nu > size, -size, 0.0)",
        "jnp.where(nu > size, size, 0.0)",
        "tests/adam/test_against_optax.py",
    ),
    Mistake(
        "complex numbers",
        "adamx/core/numerics.py",
        "jnp.square(x.real) + jnp.square(x.imag)",
        "jnp.square(x.real)",
        "tests/adam/test_papers.py::test_complex_leaves_use_the_squared_modulus",
    ),
    Mistake(
        "counts saturate",
        "adamx/core/numerics.py",
        "return jnp.minimum(count, largest - 1) + 1",
        "return count + 1",
        "tests/core/test_numerics.py",
    ),
    Mistake(
        "16-bit moments are float32",
        "adamx/core/numerics.py",
        "return own if own.itemsize >= 4 else np.dtype(np.float32)",
        "return own",
        "tests/adam/test_low_precision.py",
    ),
    Mistake(
        "a state keeps its type",
        "adamx/core/format.py",
        "return x.astype(jax.dtypes.result_type(old))",
        "return x",
        "tests/contract/test_state_type.py",
    ),
    Mistake(
        "updates have the declared type",
        "adamx/core/link.py",
        "wider = params if self.slots() or self.widens else None",
        "wider = None",
        "tests/contract/test_state_type.py",
    ),
    Mistake(
        "finite gradients, finite steps",
        "adamx/family/formula.py",
        "u = s.mu_scale * (mu / below)",
        "u = s.mu_scale * mu / below",
        "tests/contract/test_finite.py",
    ),
    Mistake(
        "norms of 16 bits do not overflow",
        "adamx/core/xla.py",
        "wide = [numerics.widen(jnp.asarray(x)) for x in leaves]",
        "wide = [jnp.asarray(x) for x in leaves]",
        "tests/transforms/test_clipping.py::test_half_precision_is_clipped_in_float32",
    ),
    Mistake(
        "derivatives",
        "adamx/core/norms.py",
        "jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), jnp.where(x == 0.0, 0.0, x))",
        "jnp.sqrt(x)",
        "tests/core/test_numerics.py tests/contract/test_derivative.py",
    ),
    Mistake(
        "donation: every leaf its own buffer",
        "adamx/core/slot.py",
        "jnp.array(p, dtype, copy=True)",
        "jnp.asarray(p, dtype)",
        "tests/contract/test_donation.py",
    ),
    Mistake(
        "no temporaries",
        "adamx/core/writer.py",
        "written = jnp.asarray(p + u).astype(jax.dtypes.result_type(p))",
        "written = (p + u - jnp.sum(u, 0) / 2**60).astype(jax.dtypes.result_type(p))",
        "tests/test_compiled.py::test_clipped_adamw_needs_no_temporaries",
    ),
    Mistake(
        "errors that name the leaf",
        "adamx/core/tree.py",
        "path = flatten_with_paths(tree)[i][0]",
        "path = flatten_with_paths(tree)[0][0]",
        "tests/contract/test_errors.py",
    ),
    Mistake(
        "nothing is broadcast",
        "adamx/core/tree.py",
        "if np.shape(leaf) != np.shape(reference):",
        "if np.size(leaf) != np.size(reference):",
        "tests/contract/test_errors.py",
    ),
    Mistake(
        "a value equals its like only",
        "adamx/core/value.py",
        "return mine[1] == theirs[1] and all(map(_same_leaf, mine[0], theirs[0]))",
        "return mine[1] == theirs[1]",
        "tests/contract/test_value.py",
    ),
    Mistake(
        "configurations come back",
        "adamx/core/config.py",
        "return [_decode(x) for x in item]",
        "return item",
        "tests/contract/test_config.py",
    ),
    Mistake(
        "clipping",
        "adamx/transforms/clipping.py",
        "exceeded = norm > max_norm",
        "exceeded = norm < max_norm",
        "tests/transforms/test_clipping.py",
    ),
    Mistake(
        "decay towards 0",
        "adamx/transforms/weight_decay.py",
        "return u + s * p\n",
        "return u - s * p\n",
        "tests/transforms/test_weight_decay.py",
    ),
    Mistake(
        "averages of the parameters",
        "adamx/transforms/averaging.py",
        "return u, s.decay * ema + s.rest * p",
        "return u, s.rest * ema + s.decay * p",
        "tests/transforms/test_averaging.py",
    ),
    Mistake(
        "accumulation",
        "adamx/transforms/accumulation.py",
        "due = gathered >= k",
        "due = gathered > k",
        "tests/transforms/test_accumulation.py",
    ),
    Mistake(
        "guards",
        "adamx/transforms/guards.py",
        "finite = jnp.isfinite(global_norm(grads))",
        "finite = ~jnp.isnan(global_norm(grads))",
        "tests/transforms/test_guards.py",
    ),
    Mistake(
        "loss scale",
        "adamx/transforms/loss_scaling.py",
        "unscaled = scale_leaves(tree.widened(grads), 1.0 / statistics.scale)",
        "unscaled = tree.widened(grads)",
        "tests/transforms/test_guards.py",
    ),
    Mistake(
        "groups",
        "adamx/transforms/groups.py",
        "[x if s else None for x, s in zip(leaves, selected, strict=True)]",
        "leaves",
        "tests/transforms/test_groups.py",
    ),
    Mistake(
        "hyperparameters in the state",
        "adamx/transforms/inject.py",
        "hyperparams={**node.hyperparams, **changes.get(id(node), {})}",
        "hyperparams={**node.hyperparams}",
        "tests/transforms/test_hyperparams.py",
    ),
    Mistake(
        "gradients of many devices",
        "adamx/transforms/aggregation.py",
        "return jax.lax.pmean(g, axis_name)",
        "return jax.lax.psum(g, axis_name)",
        "tests/transforms/test_aggregation.py",
    ),
    Mistake(
        "noise",
        "adamx/transforms/noise.py",
        "deviation = safe_sqrt(eta * count**-gamma)",
        "deviation = eta * count**-gamma",
        "tests/transforms/test_links.py",
    ),
    Mistake(
        "metrics",
        "adamx/transforms/metrics.py",
        'found["grad_norm"] = norm(grads)',
        'found["grad_norm"] = norm(updates)',
        "tests/transforms/test_metrics.py",
    ),
    Mistake(
        "schedules",
        "adamx/schedules/warmup.py",
        "return jnp.where(count < steps, rise, self.after_warmup(count, peak))",
        "return jnp.where(count <= steps, init, self.after_warmup(count, peak))",
        "tests/schedules/test_values.py",
    ),
    Mistake(
        "sparse: equal rows are one",
        "adamx/core/rows.py",
        'zero_rows(wide, len(unique)).at[place].add(wide, mode="drop")',
        'zero_rows(wide, len(unique)).at[place].set(wide, mode="drop")',
        "tests/sparse/test_rows.py",
    ),
    Mistake(
        "sparse: -1 is no row",
        "adamx/core/indexing.py",
        "inside = (ids >= 0) & (ids < num_rows)",
        "inside = ids < num_rows",
        "tests/sparse/test_rows.py",
    ),
    Mistake(
        "sparse: exact is dense",
        "adamx/sparse/exact.py",
        "mu=rows.mu * jnp.exp(gap * self.log_b1)",
        "mu=rows.mu",
        "tests/sparse/test_optimizers.py tests/sparse/test_flushing.py",
    ),
    Mistake(
        "sharding: the state is placed like its parameter",
        "adamx/sharding/placement.py",
        "return structure.unflatten([place.sharding for place in found])",
        "return structure.unflatten([found[-1].sharding for place in found])",
        "tests/sharding/test_placement.py",
    ),
    Mistake(
        "sharding: the state is shared out",
        "adamx/sharding/zero.py",
        "dimension = -max(free)[1]",
        "dimension = -min(free)[1]",
        "tests/sharding/test_zero.py",
    ),
    Mistake(
        "a state of torch",
        "adamx/interop/torch/state.py",
        "value = value.T if flipped[path] else value",
        "value = value",
        "tests/interop/test_torch.py",
    ),
    Mistake(
        "the arguments of torch",
        "adamx/interop/torch/state.py",
        'return fit(owner, "step", np.int64(step), like.count)',
        'return fit(owner, "step", np.int64(step + 1), like.count)',
        "tests/interop/test_torch.py",
    ),
    Mistake(
        "weights of Keras in its order",
        "adamx/interop/keras/weights.py",
        "yield from (*mu, *nu)",
        "yield from (*nu, *mu)",
        "tests/interop/test_keras_golden.py",
    ),
    Mistake(
        "the training step",
        "adamx/training.py",
        "numerics.widen(jnp.asarray(loss)) * scale, (loss, aux)",
        "numerics.widen(jnp.asarray(loss)), (loss, aux)",
        "tests/transforms/test_guards.py tests/test_training.py",
    ),
    Mistake(
        "a run in another format",
        "adamx/conversion.py",
        "widths = (jnp.bfloat16,) if was else (jnp.bfloat16, jnp.float32)",
        "widths = (jnp.bfloat16, jnp.float32)",
        "tests/formats/test_conversion.py",
    ),
    Mistake(
        "bytes by what they are for",
        "adamx/core/kept.py",
        "kinds.get(slot.name, 0) + size",
        "size",
        "tests/core/test_kept.py",
    ),
    Mistake(
        "the demo goes on from its checkpoint",
        "adamx/demo/training.py",
        "if step + first >= done:",
        "if step + first > done:",
        "tests/demo/test_training.py tests/demo/test_devices.py",
    ),
    Mistake(
        "options of the demo",
        "adamx/demo/checkpoints.py",
        "if found.get(name) != wanted:",
        "if False:",
        "tests/demo/test_smoke.py",
    ),
    Mistake(
        "layers",
        "adamx/core/writer.py",
        "from adamx.core import numerics, tree",
        "from adamx.core import numerics, tree\nfrom adamx.schedules import constant",
        "tests/test_architecture.py",
    ),
    Mistake(
        "documentation of everything public",
        "adamx/schedules/power.py",
        "Args:",
        "Arguments:",
        "tests/test_architecture.py",
    ),
)
