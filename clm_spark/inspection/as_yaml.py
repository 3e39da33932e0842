"""A draft as the YAML file of a mapping, with its reasons as comments."""

import textwrap
import unicodedata
from collections.abc import Iterator

import yaml

from clm_spark.inspection.draft import Draft
from clm_spark.inspection.sample import Sample

ANY_WIDTH = 1 << 20
COMMENT_WIDTH = 100


def mapping_yaml(sample: Sample, draft: Draft) -> str:
    """The file; `read_mapping` reads from it what the draft says, whatever the log's columns are called."""
    return "".join(f"{line}\n" for line in _lines(sample, draft))


def questions_yaml(draft: Draft) -> str:
    """What is undecided, as comments to stand above it."""
    lines = (line for question in draft.open_questions for line in _comment(f"UNDECIDED: {question}"))
    return "".join(f"{line}\n" for line in lines)


def shown(text: str) -> str:
    """One line without what a terminal or YAML would take for a command."""
    return "".join(
        letter if unicodedata.category(letter)[0] != "C" and letter not in "\u2028\u2029" else ascii(letter)[1:-1]
        for letter in text
    )


def _lines(sample: Sample, draft: Draft) -> Iterator[str]:
    files = f"{sample.num_files} file{'s' if sample.num_files > 1 else ''}"
    yield f"# Drafted from {len(sample.records):,} records of {files}. conf/sources/example.yml explains every key."
    for key, value in draft.keys.items():
        if key == "fields":
            for note in draft.notes:
                yield from _comment(note)
        if key in draft.reasons and key not in draft.fields:
            yield from _comment(draft.reasons[key])
        if isinstance(value, dict) and value:
            yield f"{key}:"
            yield from (
                f"  {_scalar(name)}: {_scalar(each)}{_remark(key, name, draft)}" for name, each in value.items()
            )
        else:
            yield f"{key}: {_scalar(value)}"


def _comment(text: str) -> Iterator[str]:
    width = COMMENT_WIDTH - len("# ")
    for line in textwrap.wrap(shown(text), width, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def _remark(key: str, name: str, draft: Draft) -> str:
    """Why a field is this column, or how many records have a word."""
    if key == "fields" and name in draft.reasons:
        return f" # {shown(draft.reasons[name])}"
    return f" # {draft.kinds.get(name, 0):,} of the records" if key == "kinds" else ""


def _scalar(value: object) -> str:
    """One line of YAML."""
    is_plain = all(shown(text) == text for text in _texts(value))
    text = yaml.safe_dump(
        value,
        allow_unicode=is_plain,
        default_style=None if is_plain else '"',
        default_flow_style=True,
        width=ANY_WIDTH,
        sort_keys=False,
    )
    return text.removesuffix("...\n").removesuffix("\n")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from (name, *_texts(each))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    else:
        yield str(value)
