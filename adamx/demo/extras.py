"""The packages that only the demo needs."""

from __future__ import annotations

import importlib.util

from adamx.demo.options import UsageError

_MODULES = {"scikit-learn": "sklearn", "matplotlib": "matplotlib", "rich": "rich"}


def require() -> None:
    """Raises unless the packages of the `demo` extra can be imported.

    Raises:
      UsageError: some are missing; the message says which and what to install.
    """
    missing = [name for name, module in _MODULES.items() if not importlib.util.find_spec(module)]
    if missing:
        raise UsageError(
            f"this demo needs {', '.join(missing)}, not installed here; "
            "write: pip install 'adamx[demo]'"
        )
