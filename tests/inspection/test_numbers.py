"""How numbers are written, told by all of a column."""

from clm_spark.inspection.numbers import is_below_zero, number_signs

SIGNS = [  # numbers, decimal sign, sign of thousands, whether that is asked
    (["5.00", "12"], None, None, False),
    (["5,00", "12"], ",", None, False),
    (["1.299,00", "5,00"], ",", ".", False),
    (["$1,299.00"], ".", ",", False),
    (["1.299", "12.499"], None, None, True),
    (["1,299", "12,499"], None, None, True),
    (["1.299", "5.5"], ".", None, False),
    (["12", "7"], None, None, False),
    ([], None, None, False),
]
BELOW_ZERO = [
    *(("-1", True), ("-0.50", True), ("€-5", True), ("(5.00)", True), ("5.00-", True), ("\u22125", True)),
    *(("-0.00", False), ("5", False), ("1.5e-3", False), ("0", False)),
]


def test_signs_of_numbers():
    came = [(values, *number_signs(values)) for values, *_ in SIGNS]
    assert [(values, decimal, thousands, bool(asked)) for values, decimal, thousands, asked in came] == SIGNS


def test_numbers_below_zero_however_they_are_written():
    assert [(text, is_below_zero(text)) for text, _ in BELOW_ZERO] == BELOW_ZERO
