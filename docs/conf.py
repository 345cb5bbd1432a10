"""The documentation site that `make docs` builds: the repository's pages, and the API from docstrings.

The source folder is the repository itself, so links that work there also work on the site.
"""

import ast
import inspect
import re
import sys
import textwrap
from pathlib import Path

import ziamath  # only for its font, which formulas use
from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

import decorr

sys.path.insert(0, str(Path(__file__).parent))

from docstrings import PUBLIC, as_rst
from formulas import FORMULAS

project = html_title = "decorr"
author = "The decorr authors"
project_copyright = author
version = release = decorr.__version__

root_doc = "docs/index"
include_patterns = ["docs/**", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "experiments/README.md"]
include_patterns += ["experiments/paper/*.md", "experiments/comparison/PLAN.md", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "decorr", "dist", "results", "site", "tests", "docs/theme"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
suppress_warnings = ["myst.header"]  # a page's headings may skip a level

myst_enable_extensions = ["attrs_block", "colon_fence", "dollarmath"]
myst_fence_as_directive = ["math"]  # formulas are written in GitHub's syntax
myst_heading_anchors = 3
nb_execution_mode = "off"  # shows the committed outputs: `make notebooks` executes notebooks
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # no sliders: they need a kernel and scripts from afar
smartquotes = False
python_maximum_signature_line_length = 80
viewcode_line_numbers = True
templates_path: list[str] = []

html_theme = "sphinx_book_theme"
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the search of the side bar is enough
    "show_toc_level": 2,
}
html_static_path = [
    "theme/style.css",
    str(Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"),
]
html_css_files = ["style.css"]
# The front page, which leads to docs/index.html, and a summary for language models.
html_extra_path = ["theme/index.html", "theme/llms.txt"]
html_show_sphinx = False
html_math_renderer = "mathml"

_LOG = logging.getLogger(__name__)


def setup(app: Sphinx) -> None:
    """Makes Sphinx use this file's functions for formulas, signatures, docstrings and pages."""
    app.add_html_math_renderer("mathml", (_set_inline, None), (_set_block, None))
    app.connect("source-read", _readme)
    app.connect("source-read", _results)
    app.connect("autodoc-process-docstring", _docstring)
    app.connect("autodoc-process-signature", _signature)
    # Shows one signature for all overloads: the docstring describes their results.
    positions = ModuleAnalyzer.for_module("decorr.positions")
    positions.analyze()
    positions.overloads.clear()


def _readme(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the README's start on the home page, with version and licence. Turns a table into cards."""
    if docname == root_doc:
        readme = (Path(__file__).parents[1] / "README.md").read_text()
        screen = readme.partition("# decorr\n")[2].partition("## The experiments")[0]
        screen = re.sub(r"(\]\(|^\[\w+\]: )(?!https?:)", r"\1../", screen, flags=re.MULTILINE)
        facts = (
            f"Version {version} ([what changed](../CHANGELOG.md)), licence Apache-2.0, Python 3.11 or newer."
        )
        screen = screen.replace("## Install\n", f"## Install\n\n{facts}\n")
        screen = screen.replace("| you want to |", "{.cards}\n| you want to |", 1)
        source[0] = re.sub("<!-- README.md, .* -->", lambda _: screen, source[0])


def _results(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replaces each line <!-- results/PATH.html --> of a page by the page of results at PATH."""

    def content(name: re.Match) -> str:
        page = (Path(__file__).parents[1] / name[1]).read_text()
        head, _, body = page.partition('<body class="results">')
        style = head[head.index("<style>") : head.index("</head>")]
        body = re.sub(r"<h1>.*?</h1>", "", body[: body.rindex("</body>")])
        return f'~~~~{{raw}} html\n{style}<div class="results">{body}</div>\n~~~~'

    source[0] = re.sub(r"^<!-- (results/\S+\.html) -->$", content, source[0], flags=re.MULTILINE)


def _set_inline(translator, node: nodes.Element) -> None:
    translator.body.append(_mathml(node, as_block=False))
    raise nodes.SkipNode


def _set_block(translator, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, as_block: bool) -> str:
    """Returns a formula as MathML, which browsers show without a script, a font or a network."""
    tex = node.astext()
    try:
        # Rejects formulas that docutils would show wrongly without an error.
        if tex.count("{") != tex.count("}"):
            raise MathError("a brace is not closed, or not opened")
        if re.search(r"\\frac\s*[^{\s]", tex):
            raise MathError("\\frac needs braces")
        if re.search(r"\\(bar|hat|tilde|overline)\b[^_^]*[_^]", tex):
            raise MathError("no subscript or superscript may follow an accent")
        return tex2mathml(tex, as_block=as_block)
    except MathError as error:
        _LOG.warning("a formula cannot be typeset: %s", error, location=node)
        return ""


def _docstring(app: Sphinx, what, name: str, value, options, lines: list[str]) -> None:
    lines[:] = as_rst(lines, PUBLIC, FORMULAS)


def _signature(app: Sphinx, what, name: str, value, options, signature, returns):
    """Returns a signature as the source writes it: `ArrayLike`, not the dozen types that it stands for."""
    if what not in ("function", "method", "class"):
        return None
    definition = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    constructor = [
        node for node in ast.iter_child_nodes(definition) if getattr(node, "name", "") == "__init__"
    ]
    if constructor:
        what, definition = "method", constructor[0]
        definition.returns = None
    if isinstance(definition, ast.ClassDef):
        fields = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
        return f"({', '.join(ast.unparse(field) for field in fields)})", None
    arguments = definition.args
    if what == "method":
        arguments.args = arguments.args[1:]  # self, or cls
    return f"({ast.unparse(arguments)})", definition.returns and ast.unparse(definition.returns)
