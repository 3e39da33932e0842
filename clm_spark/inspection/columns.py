"""What the columns of a sample hold: times and their format, numbers and their signs, and which field each may be."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from clm_spark.sources.formats import NULL_WORDS

# Names that shops give to a field, in small letters without signs.
NAMES = {
    "event_id": "eventid messageid insertid hitid uuid logid",
    "occurred_at": "occurredat eventtime time timestamp ts datetime date when wann zeit datum orderdate invoicedate createdat "
    "created purchasedate purchasedat orderedat day eventtimestamp collectortstamp derivedtstamp clienttime t0 时间 日期 下单时间",
    "known_at": "receivedat serverreceivedat servertime loadedat receivedtime",
    "sent_at": "sentat devicesenttstamp",
    "customer_id": "customerid customer custid cust userid user uid clientid client memberid member buyerid buyer accountid who "
    "kunde kundennummer kundenid wer householdid household personid shopperid login 用户 用户id 会员",
    "visitor_id": "visitorid visitor anonymousid cookieid cookie deviceid domainuserid userpseudoid fullvisitorid",
    "kind": "kind event eventtype eventname action type behaviortype behavior behaviour behaviourtype what ev activity was 行为",
    "item_id": "itemid item productid product sku stockcode articleid article artikel artikelnummer asin variantid was 商品 商品id",
    "category": "category categoryid categorycode cat department shelf warengruppe kategorie 类目 品类",
    "brand": "brand manufacturer marke 品牌",
    "quantity": "quantity qty pieces units menge anzahl numitems stueck 数量",
    "price": "price unitprice preis einzelpreis itemprice 单价 价格",
    "amount": "amount total paid revenue sales salesvalue linetotal totalprice ordertotal betrag summe umsatz value 金额 总价",
    "discount": "discount discountamount rabatt retaildisc 折扣",
    "order_id": "orderid order orderno invoiceno invoice invoiceid transactionid transaction basketid basket receipt receiptid "
    "bestellung bestellnummer rechnung orderreference 订单 订单号",
    "campaign_id": "campaignid campaign couponid",
    "source_session_id": "sessionid session usersession visitid visit domainsessionid gasessionid",
}
SYNONYMS = {field: frozenset(names.split()) for field, names in NAMES.items()}
WORDS = {
    "view": "view views pageview pageviews pv productview productviewed viewitem detail itemview look visit browse 浏览 查看",
    "click": "click clicks productclick 点击",
    "search": "search searched viewsearchresults 搜索",
    "cart": "cart addtocart addedtocart productadded basket add addtobasket 加购 加入购物车",
    "uncart": "uncart removefromcart removedfromcart productremoved remove",
    "purchase": "purchase purchases purchased buy bought order orders ordered orderplaced ordercompleted transaction sale sold "
    "checkoutcompleted paid kauf 购买 下单",
    "refund": "refund refunds refunded return returns returned cancel cancelled canceled cancellation storno retoure 退款 退货",
    "impression": "impression impressions productimpression 曝光",
    "review": "review reviews rating rated 评价",
    "coupon_redeemed": "couponredeemed redeem",
    "campaign_sent": "campaignsent emailsent sent",
}
KIND_OF = {word: kind for kind, words in WORDS.items() for word in words.split()}
MOST_KINDS = 30
NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$")
MONEY = re.compile(r"^[(+-]*\D{0,4}?[+-]?[\d.,'\s]*\d[\d.,'\s]*\D{0,4}?[)-]?$")
_CLOCKS = (
    ("", ""),
    (" H", r" (?P<H>\d{1,2})"),
    (" H:mm", r" (?P<H>\d{1,2}):\d{2}"),
    (" H:mm:ss", r" (?P<H>\d{1,2}):\d{2}:\d{2}"),
    (" H:mm:ss.SSS", r" (?P<H>\d{1,2}):\d{2}:\d{2}\.\d{3}"),
    (" h:mm a", r" (?P<h>\d{1,2}):\d{2} (?:AM|PM)"),
    (" h:mm:ss a", r" (?P<h>\d{1,2}):\d{2}:\d{2} (?:AM|PM)"),
)
_PARTS = {"yyyy": r"(?P<y>\d{4})", "yy": r"(?P<y>\d{2})", "M": r"(?P<M>\d{1,2})", "d": r"(?P<d>\d{1,2})"}
_ORDERS = (("d", "M", "yyyy"), ("M", "d", "yyyy"), ("yyyy", "M", "d"), ("d", "M", "yy"), ("M", "d", "yy"))
_LIMITS = {"M": 12, "d": 31, "H": 23, "h": 12}
ISO = re.compile(
    r"^\d{4}-\d{1,2}-\d{1,2}(?:[Tt ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?))?)?$"
    r"|^\d{8}T\d{4,6}(?:Z|[+-]\d{2,4})?$"
)
EPOCHS = (("epoch_s", 1), ("epoch_ms", 10**3), ("epoch_us", 10**6))
FIRST_SECOND, LAST_SECOND = 788_918_400, 4_102_444_800  # 1995 and 2100
SERIAL_DAYS = (34_700, 73_000)  # the same, as a spreadsheet counts


@dataclass(frozen=True)
class ColumnSample:
    """A column's texts, blanks and words for nothing left out."""

    name: str
    values: tuple[str, ...]
    num_records: int

    @property
    def num_empty(self) -> int:
        """Records without a value."""
        return self.num_records - len(self.values)

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each text comes."""
        return Counter(self.values)

    @property
    def is_unique(self) -> bool:
        """Whether no text comes twice."""
        return len(self.counts) == len(self.values) > 1

    @cached_property
    def is_number(self) -> bool:
        """Whether nearly all are numbers, however they are written."""
        return bool(self.values) and _share(self.values, lambda text: bool(MONEY.match(text))) > 0.95

    @cached_property
    def is_plain_number(self) -> bool:
        """Whether nearly all are numbers as Spark reads them."""
        return bool(self.values) and _share(self.values, lambda text: bool(NUMBER.match(text))) > 0.95

    @cached_property
    def time_formats(self) -> tuple[str, ...]:
        """Formats by which at least nine in ten are times; several where days and months cannot be told apart."""
        fitting = {name: share for name, share in _time_shares(self.values) if share >= 0.9}
        most = max(fitting.values(), default=0.0)
        return tuple(name for name, share in fitting.items() if share == most)

    @property
    def field_scores(self) -> dict[str, int]:
        """How well its name suits each field: 3 the name itself, 2 a part of it."""
        plain = {plain_word(self.name), plain_word(self.name.rsplit(".", 1)[-1])}
        parts = {plain_word(part) for part in re.split(r"[^\w]|_|(?<=[a-z])(?=[A-Z])", self.name) if part}
        scores = {field: 3 if plain & names else 2 if parts & names else 0 for field, names in SYNONYMS.items()}
        return {field: score for field, score in scores.items() if score}


def columns_of(records: Sequence[dict[str, str | None]], names: Sequence[str]) -> dict[str, ColumnSample]:
    """Every column of a sample."""
    words = {word.strip() for word in NULL_WORDS}
    found = {}
    for name in names:
        texts = [(record[name] or "").strip() for record in records]
        found[name] = ColumnSample(name, tuple(text for text in texts if text not in words), len(records))
    return found


def plain_word(text: str) -> str:
    """In small letters, without signs."""
    return re.sub(r"[\W_]", "", text).lower()


def number_signs(values: Sequence[str]) -> tuple[str | None, str | None, str]:
    """The decimal sign, the sign of thousands and what could not be decided of a column of numbers."""
    bare = [re.sub(r"[^\d.,]", "", text) for text in values]
    both = [text for text in bare if "." in text and "," in text]
    if both:
        decimal = max(".,", key=both[0].rfind)
        return decimal, "," if decimal == "." else ".", ""
    for decimal, other in ((",", "."), (".", ",")):
        signed = [text for text in bare if decimal in text]
        if not signed:
            continue
        in_threes = [text for text in signed if re.match(rf"^[1-9]\d{{0,2}}(?:{re.escape(decimal)}\d{{3}})+$", text)]
        if not in_threes:
            return (decimal, None, "") if decimal == "," else (None, None, "")
        if len(in_threes) < len(signed):
            return decimal, None, ""
        return (
            None,
            None,
            (
                f"{in_threes[0]} may be a number of thousands (thousands: {decimal!r}) or have three decimals (decimal: "
                f"{decimal!r}, thousands: {other!r})"
            ),
        )
    return None, None, ""


def _share(values: Sequence[str], fits: Callable[[str], bool]) -> float:
    return sum(map(fits, values)) / len(values)


def _time_shares(values: Sequence[str]) -> Iterator[tuple[str, float]]:
    if not values:
        return
    yield "iso", _share(values, lambda text: bool(ISO.match(text)))
    for name, unit in EPOCHS:
        yield name, _share(values, lambda text, unit=unit: _is_between(text, FIRST_SECOND * unit, LAST_SECOND * unit))  # type: ignore[misc]
    yield "spreadsheet", _share(values, lambda text: _is_between(text, *SERIAL_DAYS))
    for order in _ORDERS:
        for sign in ("/", ".", "-"):
            for clock, of_clock in _CLOCKS:
                if order[0] == "yyyy" and sign == "-" and clock not in ("", " H", " h:mm a", " h:mm:ss a"):
                    continue  # iso says it
                pattern = re.compile(f"^{re.escape(sign).join(_PARTS[part] for part in order)}{of_clock}$")
                yield sign.join(order) + clock, _share(values, lambda text, of=pattern: _is_date(of, text))  # type: ignore[misc]
    yield "yyyyMMdd", _share(values, lambda text: bool(re.match(r"^(?:19|20)\d\d[01]\d[0-3]\d$", text)))


def _is_between(text: str, low: int, high: int) -> bool:
    return bool(NUMBER.match(text)) and low <= float(text) <= high


def _is_date(pattern: re.Pattern[str], text: str) -> bool:
    found = pattern.match(text)
    return found is not None and all(int(found[part]) <= _LIMITS.get(part, 9999) for part in found.groupdict())
