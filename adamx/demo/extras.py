"""The packages that only the demo needs."""

from __future__ import annotations

import importlib.util

from adamx.demo.exits import UsageError

_MODULES = {
    "scikit-learn": "sklearn",
    "matplotlib": "matplotlib",
    "rich": "rich",
}


def require(*packages: str) -> None:
    """Raises unless some packages of the `demo` extra can be imported, all of them by default.

    Raises:
      UsageError: some are missing; the message says which and what to install.
    """
    wanted = packages or tuple(_MODULES)
    missing = [name for name in wanted if not importlib.util.find_spec(_MODULES[name])]
    if missing:
        raise UsageError(
            f"this demo needs {', '.join(missing)}, not installed here; "
            "write: pip install 'adamx[demo]'"
        )
