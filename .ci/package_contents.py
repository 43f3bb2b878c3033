"""Whether wheels and sdists, given as arguments, hold what git knows and nothing else."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

REQUIRED_IN_METADATA = ("Author", "Classifier", "License-Expression", "Project-URL")


def tracked() -> set[str]:
    """The files of the checkout."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True)
    return set(listed.stdout.split("\n")) - {""}


def check_same(name: str, found: set[str], wanted: set[str]) -> None:
    """Ends the program with what differs."""
    if found != wanted:
        sys.exit(
            f"{name}: missing {sorted(wanted - found)[:10]}, "
            f"not known to git {sorted(found - wanted)[:10]}"
        )


def check_wheel(path: Path) -> None:
    """The package, its types and licence, and metadata for an index page."""
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        info = next(name.split("/")[0] for name in names if ".dist-info/" in name)
        metadata = wheel.read(f"{info}/METADATA").decode()
    check_same(
        path.name,
        {name for name in names if not name.startswith(info)},
        {name for name in tracked() if name.startswith("adamx/")},
    )
    for name in ("adamx/py.typed", f"{info}/licenses/LICENSE"):
        if name not in names:
            sys.exit(f"{path.name}: no {name}")
    for field in REQUIRED_IN_METADATA:
        if f"\n{field}: " not in metadata:
            sys.exit(f"{path.name}: its metadata has no {field}")


def check_sdist(path: Path) -> None:
    """The checkout."""
    with tarfile.open(path) as sdist:
        files = [member.name for member in sdist.getmembers() if member.isfile()]
    found = {name.partition("/")[2] for name in files} - {"PKG-INFO", ".gitignore"}
    # What starts with a dot concerns the repository: CI, editors, git.
    check_same(path.name, found, {name for name in tracked() if not name.startswith(".")})


for argument in sys.argv[1:]:
    (check_wheel if argument.endswith(".whl") else check_sdist)(Path(argument))
    print(f"{Path(argument).name}: holds what git knows")
