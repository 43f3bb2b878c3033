"""How XLA compiles in tests.

Most of them look at the numbers of programs that run once, on a few elements; compiling is what
costs, and XLA is told not to try hard, which is several times faster.  What reads a program, its
text or its memory, compiles by hand (`jit(f).lower(...).compile()`): that is done as for users.
So is what two programs must agree on to the last bit, `jit(f, compiler_options=AS_FOR_USERS)`, and
everything in `pytest --optimized`.
"""

from __future__ import annotations

import functools
import mmap
import os
from pathlib import Path
from typing import Any

import jax
import jaxlib

# XLA's flags as they are here, and as they are for users.
FLAGS: dict[str, tuple[Any, Any]] = {
    "xla_backend_optimization_level": (0, 3),
    "xla_llvm_disable_expensive_passes": (True, False),
    "xla_cpu_use_fusion_emitters": (False, True),
    "xla_cpu_parallel_codegen_split_count": (1, 32),
}

# Compiler options; none where nothing was turned down.
AS_FOR_USERS: dict[str, Any] = {}


def compile_quickly() -> None:
    """To be called before JAX looks for devices; processes started later inherit it."""
    known = _known_flags()
    flags = [f"--{name}={here}".lower() for name, (here, _) in known.items()]
    given = os.environ.get("XLA_FLAGS", "").split()
    os.environ["XLA_FLAGS"] = " ".join(dict.fromkeys([*flags, *given]))

    AS_FOR_USERS.update({name: users for name, (_, users) in known.items()})
    compile_ = jax.stages.Lowered.compile

    @functools.wraps(compile_)
    def compile_by_hand(self: Any, compiler_options: Any = None, **rest: Any) -> Any:
        return compile_(self, {**AS_FOR_USERS, **(compiler_options or {})}, **rest)

    jax.stages.Lowered.compile = compile_by_hand  # type: ignore[method-assign]


def _known_flags() -> dict[str, tuple[Any, Any]]:
    """Those that this version of XLA has: a flag it does not know would end the process."""
    library = max(Path(jaxlib.__file__).parent.glob("*.so"), key=lambda file: file.stat().st_size)
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as code:
        # The name of one that is gone stands in the library too, but not as a text of its own.
        return {name: of for name, of in FLAGS.items() if code.find(f"\0{name}\0".encode()) >= 0}
