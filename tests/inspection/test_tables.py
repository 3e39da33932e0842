"""CSV is cut by what most of its lines agree on; nothing in it is a stack trace."""

import pytest

from clm_spark.errors import SourceError
from clm_spark.inspection.beginning import Beginning
from clm_spark.inspection.tables import tables_of

HEADERS = [  # the first line, the second, whether the first is a header
    ("when,who,what", "2024-01-01,u1,view", True),
    ("2024-01-01T10:00:00Z,u1,view", "2024-01-02T10:00:00Z,u2,view", False),
    ("u1,view,12.50", "u2,view,1.00", False),
    ("anna@example.com,view,shoes", "ben@example.com,cart,hats", False),
    ("milk,bread,beer", "milk,bread,soap", False),  # most come again in their column
    ("when,who,what", "when,who,what", True),  # people concatenate files
    (",when,who", "0,2024-01-01,u1", True),
]


def tables(*texts: str):
    return tables_of([Beginning(f"file:/log/{number}.csv", text, "utf-8") for number, text in enumerate(texts)])


def test_a_first_line_is_a_header_unless_it_looks_like_the_others():
    came = [(first, second, tables(f"{first}\n{second}\n")[1][0].header) for first, second, _ in HEADERS]
    assert came == [(first, second, first if is_header else None) for first, second, is_header in HEADERS]


def test_the_separator_is_what_cuts_the_lines_alike():
    texts = ["a;b;c\n1,5;2;3\n1,6;2;3\n", "a\tb\n1\t2\n", "a|b\n1|2\n", "a,b\n1,x;y;z\n2,x\n"]
    assert [tables(text)[0] for text in texts] == [";", "\t", "|", ","]


def test_lines_that_do_not_fit_are_counted_and_left_out():
    huge = "x" * 200_000  # more than the csv module takes
    _, (table,) = tables(f'a,b\r\n1,2\r\n3\r\n4,5,\r\n6,7,8\r\n{huge},9\r\n"10\r\n11",12\r\n13,"14\r\n')
    assert table.records == [
        {"a": "1", "b": "2"},
        {"a": "4", "b": "5"},
        {"a": "10\r\n11", "b": "12"},
        {"a": "13", "b": "14\r\n"},
    ]
    assert (table.num_misfits, table.num_spanning_lines) == (3, 2)


def test_after_a_quote_that_is_never_closed_the_others_are_read():
    lines = "".join(f"{number},b\n" for number in range(60_000))
    _, (table,) = tables(f'n,letter\n1,"open\n{lines}')
    assert table.num_misfits == 1
    assert table.records[-1] == {"n": "59999", "letter": "b"}
    assert 20_000 < len(table.records) < 60_000


@pytest.mark.parametrize("text", ['a,"b\nc"\n1,2\n', f'"{"x" * 200_000}\n1,2\na,b\n'])
def test_a_header_of_several_lines_is_refused_in_one(text):
    with pytest.raises(SourceError, match=r"^file:/log/1\.csv begins with an open quote, or a header of several lines"):
        tables("a,b\n1,2\n", text)
