"""The options of the command line."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.suites import SUITES


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """One run."""

    suites: tuple[str, ...] = tuple(SUITES)
    peers: tuple[str, ...] = tuple(PEERS)
    sizes: tuple[int, ...] | None = None  # parameters in the one leaf; None for the suite's own
    quick: bool = False
    device: str | None = None  # "cpu", "gpu", or None for JAX's default
    output: Path = Path("benchmark-results")
    seed: int = 0
    compare: Path | None = None

    @property
    def rounds(self) -> int:
        """Paired repetitions per case, unless its time is up before."""
        return 9 if self.quick else 31

    @property
    def seconds_per_case(self) -> float:
        """After this no further round is started (but at least three are run)."""
        return 1.0 if self.quick else 20.0


def _names(kind: str, known: Sequence[str], text: str) -> tuple[str, ...]:
    names = tuple(known) if text == "all" else tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(
                f"no {kind} {name!r}; there are {', '.join(known)}, and `all`"
            )
    return names


def _suites(text: str) -> tuple[str, ...]:
    return _names("suite", tuple(SUITES), text)


def _peers(text: str) -> tuple[str, ...]:
    """Names; that of a package stands for all its peers."""
    packages: dict[str, list[str]] = {}
    for name, peer in PEERS.items():
        packages.setdefault(peer.package, []).append(name)
    given = [name.strip() for name in text.split(",")]
    names = [name for one in given for name in packages.get(one, [one])]
    return _names("peer", tuple(PEERS), ",".join(dict.fromkeys(names)))


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(float(size)) for size in text.split(","))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"sizes are numbers like 1e6, got {text!r}") from None
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"sizes must be at least 1, got {text!r}")
    return sizes


def parse(arguments: Sequence[str] | None = None) -> Options:
    """The options of a command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="adamx beside its peers: time, memory and compilation, interleaved in one run.",
        epilog="Suites: " + "; ".join(f"{name}: {title}" for name, title in SUITES.items()) + ".",
    )
    add = parser.add_argument
    add("--suite", type=_suites, default=tuple(SUITES), help="names with commas, or all (default)")
    add(
        "--peers",
        type=_peers,
        default=tuple(PEERS),
        help=f"names with commas out of {', '.join(PEERS)}; those not installed are skipped",
    )
    add("--sizes", type=_sizes, help="parameters in the one leaf, with commas: 1e4,1e6")
    add("--quick", action="store_true", help="smaller and fewer cases: under two minutes")
    add("--device", choices=("cpu", "gpu"), help="default: the one that JAX prefers")
    add("--output", type=Path, default=Options.output, help="folder (default: %(default)s)")
    add("--seed", type=int, default=0, help="of the data and of the order in which peers run")
    add("--compare", type=Path, metavar="OLD.json", help="print what moved since that run")
    given = parser.parse_args(arguments)
    if given.compare is not None and not given.compare.is_file():
        parser.error(f"--compare: no such file: {given.compare}")
    return Options(
        suites=given.suite,
        peers=given.peers,
        sizes=given.sizes,
        quick=given.quick,
        device=given.device,
        output=given.output,
        seed=given.seed,
        compare=given.compare,
    )
