"""Commands run by the tests' own process, which has imported and compiled what they need."""

import contextlib
import functools
import io
import subprocess
import sys

import pytest


def called(main, *arguments, **streams):
    """How a command's `main` ends and what it says, as of a process.

    Args:
      streams: output, in place of one that is kept; None, if it is closed.
    """
    said, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(streams.get("output", said)),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr(sys, "argv", ["command", *map(str, arguments)])
        code, message = 0, ""
        try:
            main()
        except SystemExit as stopped:  # Python prints a text and exits with 1
            code, message = (1, f"{stopped}\n") if isinstance(stopped.code, str) else (stopped.code or 0, "")
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), errors.getvalue() + message)


@pytest.fixture(scope="module")
def trained_here():
    """Commands train in this process instead of in some of their own."""
    from experiments.run import local, machine, processes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "begin_processes", lambda: None)
        patch.setattr(processes, "run", lambda *args, processes: local.run(*args))
        yield


@pytest.fixture(scope="module")
def sweep(trained_here):
    """Runs a sweep with some options, all but its report, which takes longer than the training."""
    from experiments import sweep as command
    from experiments.paper import report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda results, folder: folder / "report.html")
        yield functools.partial(called, command.main)


@pytest.fixture(scope="module")
def no_png():
    """Pages are drawn without PNGs, which are half of the time: tests/experiments/page has one."""
    from experiments.page import drawing

    whole = drawing._file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_file", lambda figure, kind: whole(figure, kind) if kind == "svg" else b"")
        yield


@pytest.fixture
def no_devices(monkeypatch):
    """Whatever asks for a device fails."""
    from experiments.run import host

    def fail():
        raise AssertionError("a device was asked for")

    monkeypatch.setattr(host, "devices", fail)
