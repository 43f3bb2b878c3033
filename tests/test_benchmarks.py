"""The benchmark runs and says what it measured."""

from __future__ import annotations

import sys

import pytest

from benchmarks import __main__ as benchmarks


def test_it_prints_a_table(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--size", "5000", "--repetitions", "2"])
    benchmarks.main()
    printed = capsys.readouterr().out
    assert printed.count("adamx") >= 2
    assert "temporaries" in printed


def test_nonsense_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--size", "0"])
    with pytest.raises(SystemExit) as stopped:
        benchmarks.main()
    assert stopped.value.code == 2
    assert "at least 1" in capsys.readouterr().err
