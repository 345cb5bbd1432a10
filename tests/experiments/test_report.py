"""The report command, as users call it."""

import re
import sys

import pytest

from experiments import report


def test_without_a_sweep_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["nowhere"]):
        monkeypatch.setattr(sys, "argv", ["report", *arguments])
        with pytest.raises(SystemExit) as stopped:
            report.main()
        assert re.fullmatch(r"error: (results/|nowhere) holds no .*", str(stopped.value.code))
