"""The encodings of text files, by their names in Python and in Java."""

import codecs

BOM = "\ufeff"
BYTE_ORDERS = {b"\xff\xfe": "utf-16le", b"\xfe\xff": "utf-16be"}
# In these a line end, a quote and a separator are the bytes of ASCII. By Python's names, which Java knows, too ...
_SHARED = """
    ascii big5 big5hkscs cp437 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp865 cp866 cp869 cp1250
    cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 euc_jp euc_kr gb18030 gb2312 gbk iso8859-1 iso8859-2 iso8859-3
    iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-13 iso8859-15 johab koi8-r koi8-u shift_jis tis-620
    utf-8
"""
# ... or has by another name. What Java calls cp932, cp949 and cp950 are other encodings.
_JAVA_NAMES = {
    "cp874": "x-windows-874",
    "cp932": "windows-31j",
    "cp949": "x-windows-949",
    "cp950": "x-windows-950",
    "iso2022_jp": "ISO-2022-JP",
    "iso8859-11": "x-iso-8859-11",
    "mac-croatian": "x-MacCroatian",
    "mac-cyrillic": "x-MacCyrillic",
    "mac-greek": "x-MacGreek",
    "mac-iceland": "x-MacIceland",
    "mac-latin2": "x-MacCentralEurope",
    "mac-roman": "x-MacRoman",
    "mac-romanian": "x-MacRomania",
    "mac-turkish": "x-MacTurkish",
}
ENCODINGS = frozenset({*_SHARED.split(), *_JAVA_NAMES, *BYTE_ORDERS.values(), "utf-16"})


def encoding_name(name: str) -> str:
    """Python's own name of an encoding, by any of its names.

    Raises `ValueError` for what is no encoding of text, or none that Java has.
    """
    try:
        found = codecs.lookup(name.strip()).name.replace("utf-16-", "utf-16")
    except (LookupError, ValueError):
        found = ""
    if found == "utf-8-sig":
        return "utf-8"
    if found not in ENCODINGS:
        raise ValueError("expected an encoding such as utf-8, utf-16, gbk, latin-1 or windows-1252")
    return found


def java_name(encoding: str) -> str:
    """Java's name of an encoding that `encoding_name` gives."""
    return _JAVA_NAMES.get(encoding, encoding)


def with_byte_order(encoding: str, content: bytes) -> str:
    """UTF-16 in the byte order of a file, by its beginning; other encodings as they are.

    Without a mark it is the order that was named, or that by which more letters are of ASCII.
    """
    if not encoding.startswith("utf-16"):
        return encoding
    marked = next((order for mark, order in BYTE_ORDERS.items() if content.startswith(mark)), None)
    if marked or encoding != "utf-16":
        return marked or encoding
    return "utf-16be" if content[::2].count(0) > content[1::2].count(0) else "utf-16le"
