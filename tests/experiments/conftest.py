"""Runs commands in the tests' own process, which has already imported and compiled what they need."""

import contextlib
import functools
import io
import subprocess
import sys

import pytest


def called(main, *arguments, **streams):
    """Runs a command's `main`. Returns its exit status and its output, in the form of a finished process.

    Args:
      main: the function of the command.
      arguments: the command's arguments.
      streams: `output`, if given, receives standard output, which is otherwise kept. None is a closed output.
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
    """Makes commands train in this process instead of in new processes."""
    from experiments.run import local, machine, processes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "begin_processes", lambda: None)
        patch.setattr(processes, "run", lambda *args, processes: local.run(*args))
        yield


@pytest.fixture(scope="module")
def sweep(trained_here):
    """Returns a function that runs a sweep without its report, which takes longer than the training."""
    from experiments import sweep as command
    from experiments.paper import report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write", lambda results, folder: folder / "report.html")
        yield functools.partial(called, command.main)


@pytest.fixture(scope="module")
def no_png():
    """Draws pages without PNGs, which take half of the time. tests/experiments/page tests a PNG."""
    from experiments.page import drawing

    whole = drawing._file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_file", lambda figure, kind: whole(figure, kind) if kind == "svg" else b"")
        yield


@pytest.fixture
def no_devices(monkeypatch):
    """Makes all code that asks for a device fail."""
    from experiments.run import host

    def fail():
        raise AssertionError("a device was asked for")

    monkeypatch.setattr(host, "devices", fail)
