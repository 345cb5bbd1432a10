"""Writes one page about a sweep: verdicts, figures, agreement with published numbers, ablation.
`python -m experiments.report --help`."""

import dataclasses
from pathlib import Path

import tyro

from experiments.command import Unset, explained, make_console, parse
from experiments.disk.errors import ResultsError
from experiments.disk.files import check_folder
from experiments.store import finished


@dataclasses.dataclass(frozen=True)
class Report:
    """Write one HTML page about a sweep: figures, published numbers beside ours, and verdicts on the
    paper."""

    folder: tyro.conf.Positional[Unset[Path]] = None
    """Folder of a sweep's results. Default: the newest one under results/."""
    reference: bool = False
    """Show the committed reference run instead. The committed comparison gets its own page in the
    subfolder comparison/."""
    out: Unset[Path] = None
    """Folder for the page. Default: the sweep's folder, or results/reference."""


def write(options: Report) -> list[Path]:
    """Writes the pages that the options ask for; returns their paths."""
    # Imported here, so that --help does not wait for the modules that draw.
    from experiments.comparison import analysis, page, results
    from experiments.paper import report
    from experiments.store.gathered import gather

    if options.reference:
        out = options.out or Path("results/reference")
        check_folder(out)
        return [
            report.write_reference(report.REFERENCE, out, analysis.c10(results.stored())),
            page.write(out=out / "comparison"),
        ]
    folder = options.folder or _last()
    check_folder(options.out or folder)
    return [report.write(gather(folder), options.out or folder)]


def _last() -> Path:
    written = [path for folder in Path("results").glob("*/") for path in finished.paths(folder)]
    if not written:
        raise ResultsError("results/ holds no sweep: name a sweep's folder, or use --reference")
    return max(written, key=lambda path: path.stat().st_mtime).parent


def main() -> None:
    with explained():
        for page in write(parse(Report, "report")):
            make_console().print(f"report: {page.resolve()}", soft_wrap=True)


if __name__ == "__main__":
    main()
