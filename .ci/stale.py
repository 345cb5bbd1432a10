"""Lists notebooks whose committed outputs are stale, and fails in CI.

stale.py FOLDER: the folder holds the executed notebooks.

Only words are compared, because numbers differ between processors.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path


def words(notebook: dict) -> list[str]:
    """Returns the text that each cell prints or shows, without numbers and spaces."""
    texts = []
    for cell in notebook["cells"]:
        outputs = [
            output.get("text") or output.get("data", {}).get("text/plain", "")
            for output in cell.get("outputs", [])
        ]
        text = "".join("".join(lines) for lines in outputs)
        texts.append(re.sub(r"[-+.\d]+(e[-+]?\d+)?|\s", "", text))
    return texts


def main(folder: Path) -> None:
    """Compares the executed notebooks in a folder with the committed ones."""
    stale = []
    for path in sorted(folder.glob("*.ipynb")):
        shown = subprocess.run(["git", "show", f"HEAD:notebooks/{path.name}"], capture_output=True, text=True)
        executed = json.loads(path.read_text(encoding="utf-8"))
        if shown.returncode == 0 and words(json.loads(shown.stdout)) != words(executed):
            stale.append(path.name)
    if stale:
        print(f"committed outputs are stale: make notebooks, and commit {', '.join(stale)}", file=sys.stderr)
    sys.exit(bool(stale and os.environ.get("CI")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
