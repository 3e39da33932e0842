"""The part of Spark SQL that a mapping may use: it looks at one record, gives the same at every reading, and never throws."""

# Catalyst's names of what an expression is built of.
COLUMN, FUNCTION, LITERAL, CAST, CASE = "UnresolvedAttribute", "UnresolvedFunction", "Literal", "Cast", "CaseWhen"
ARITHMETIC = {"Add", "Subtract", "Multiply", "Divide", "IntegralDivide", "Remainder", "UnaryMinus", "UnaryPositive"}
ORDERINGS = {"LessThan", "LessThanOrEqual", "GreaterThan", "GreaterThanOrEqual"}
COMPARISONS = {*ORDERINGS, "EqualTo", "EqualNullSafe", "In"}
PATTERNS = {"Like", "RLike", "LikeAny", "NotLikeAny", "LikeAll", "NotLikeAll"}
TEXTS = {"Concat", "Lower", "Substring", "StringTrim", "StringTrimLeft", "StringTrimRight", "StringLocate", "Overlay"}
CONDITIONS = {"And", "Or", "Not", "IsNull", "IsNotNull"}
PARTS = {COLUMN, FUNCTION, LITERAL, CAST, CASE, "UnresolvedExtractValue"}
NODES = ARITHMETIC | COMPARISONS | PATTERNS | TEXTS | CONDITIONS | PARTS
OF_MORE_RECORDS = {
    *("ScalarSubquery", "Exists", "ListQuery", "UnresolvedStar", "WindowExpression", "UnresolvedWindowExpression"),
}

# Functions that give a number of numbers.
COUNTING = {
    *("abs", "round", "bround", "ceil", "ceiling", "floor", "sign", "signum", "negative", "positive", "mod", "pmod"),
    *("try_add", "try_subtract", "try_multiply", "try_divide", "bigint", "double", "float", "decimal"),
}
# Functions of which the arguments, or those between which they choose, have one type.
CHOOSING = {"coalesce", "nvl", "ifnull", "nullif", "greatest", "least", "if", "nvl2", "between"}
ORDERING = {"greatest", "least", "between"}
# Functions with a pattern, a place or a format: all arguments but the first are written out, so that they can be tried.
WRITTEN_OUT = {
    *("regexp", "regexp_like", "rlike", "regexp_replace", "regexp_extract", "regexp_substr", "regexp_count", "split"),
    *("split_part", "to_date", "to_timestamp", "try_to_timestamp", "date_format", "trunc", "sha2", "lpad", "rpad"),
}
OF_TEXT = {
    *(
        "concat",
        "concat_ws",
        "lower",
        "lcase",
        "upper",
        "ucase",
        "initcap",
        "trim",
        "ltrim",
        "rtrim",
        "btrim",
        "reverse",
    ),
    *(
        "substr",
        "substring",
        "substring_index",
        "left",
        "right",
        "length",
        "char_length",
        "replace",
        "translate",
        "instr",
    ),
    *("locate", "position", "startswith", "endswith", "contains", "string", "md5", "crc32", "get_json_object"),
    *("try_url_decode", "try_parse_url"),
}
OF_TIME = {
    *("date", "timestamp", "year", "quarter", "month", "day", "dayofmonth", "dayofweek", "weekday", "hour", "minute"),
    *("second", "date_trunc", "extract", "date_part", "date_add", "date_sub", "datediff", "date_diff"),
}
OF_CONDITION = {"isnull", "isnotnull", "boolean"}
FUNCTIONS = COUNTING | CHOOSING | WRITTEN_OUT | OF_TEXT | OF_TIME | OF_CONDITION
