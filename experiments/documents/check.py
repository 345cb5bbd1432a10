"""Checks that documents have each phrase of sentences.txt, with numbers that equal the results."""

import re
from collections.abc import Iterator
from pathlib import Path

from experiments.documents import results

ROOT = Path(__file__).parents[2]
SENTENCES = Path(__file__).parent / "sentences.txt"

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = rf"([+-]?\d+(?:\.\d+)?|\b(?:{'|'.join(_WORDS)})\b)"
_SETTINGS = {"0.1", "1.0", "0.002", "0.02", "0.25", "95%"}
"""Numbers that are settings, not results: weights, a correlation and a confidence level."""
_NO_TEXT = (r"```.*?```", r"^    .*?$", r"\]\([^)]*\)")
"""Code and the targets of links are not checked."""
_NO_RESULTS = (r"Python \d\.\d+", r"Apache-2\.0", r"Section \d\.\d", r"[\d.]+ us a kernel")


def documents() -> dict[str, list[str]]:
    """Returns the phrases that sentences.txt lists for each document."""
    _, *parts = SENTENCES.read_text().split("\n# ")
    return {lines[0]: [line for line in lines[1:] if line] for lines in map(str.splitlines, parts)}


def mistakes() -> Iterator[str]:
    """Yields a line for each mistake, such as a number that differs from its result or has no phrase."""
    for document, phrases in documents().items():
        for mistake in mistakes_in((ROOT / document).read_text(), phrases):
            yield f"{document}: {mistake}"


def mistakes_in(markdown: str, phrases: list[str]) -> Iterator[str]:
    """Yields the mistakes in one document."""
    for other in _NO_TEXT:
        markdown = re.sub(other, "", markdown, flags=re.DOTALL | re.MULTILINE)
    whole = " ".join(markdown.split())
    # Numbers in tables need no phrase, because most tables are generated.
    prose = " ".join(re.sub(r"^\|.*?$", "", markdown, flags=re.MULTILINE).split())
    for phrase in phrases:
        said, _, condition = phrase.partition(" :: ")
        words, expressions = re.split(r"\{.*?\}", said), re.findall(r"\{(.*?)\}", said)
        found = list(re.finditer(_NUMBER.join(map(re.escape, words)), whole))
        if len(found) != 1:
            yield f"occurs {len(found)} times: {said}"
            continue
        for number, expression in zip(found[0].groups(), expressions, strict=True):
            if not _says(number, value := eval(expression, vars(results))):
                yield f"{number} should be {value:.6g}, by {expression}"
        if condition and not eval(condition, vars(results)):
            yield f"is not true: {said}"
        prose = prose.replace(found[0][0], "")
    for other in _NO_RESULTS:
        prose = re.sub(other, "", prose)
    for number in sorted({*re.findall(r"\d+\.\d+%?|\d+%", prose)} - _SETTINGS):
        yield f"has no phrase: {number}"


def _says(number: str, value: float) -> bool:
    """Checks whether a number in a document, in digits or as a word, equals a value rounded to the number's
    decimals."""
    if number in _WORDS:
        return bool(value == _WORDS.index(number))
    decimals = len(number.partition(".")[2])
    return bool(abs(float(number) - value) <= 0.501 * 10**-decimals)
