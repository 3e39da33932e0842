"""What shops call the fields of an event and the kinds of it, in the languages that such logs are met in."""

import re

# Names that shops give to a field, as `plain_word` writes them.
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
    "tax": "tax taxes taxamount salestax vat mwst ust steuer 税",
    "shipping": "shipping shippingcost postage freight versand versandkosten porto 运费",
    "order_id": "orderid order orderno invoiceno invoice invoiceid transactionid transaction basketid basket receipt receiptid "
    "bestellung bestellnummer rechnung orderreference 订单 订单号",
    "campaign_id": "campaignid campaign couponid",
    "source_session_id": "sessionid session usersession visitid visit domainsessionid gasessionid",
}
SYNONYMS = {field: frozenset(names.split()) for field, names in NAMES.items()}
# A part of a name such as customer_country speaks of an id only beside one of these, or where it is one by itself.
IDS = {"id", "ids", "no", "nr", "num", "number", "nummer", "key", "code", "hash", "uuid", "guid", "ref", "reference"}
NO_IDS = {"zip", "postal", "country", "currency", "phone", "tax", "vat", "type", "status"}
ID_BY_ITSELF = re.compile(r"(?:id|no|nummer|code|sku|asin)$")

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
GUESTS = {
    *("-", "--", "?", ".", "na", "n/a", "#n/a", "nil", "none", "(none)", "(null)", "undefined", "(not set)"),
    *("unknown", "unbekannt", "guest", "gast", "anonymous", "anonym"),
}
PERSONAL = re.compile(
    r"mail|phone|name|street|birth|address|passwo|iban|ip$|^ip|^dob$|postal|post_?code|^zip|zip_?code|mobile_?n"
    r"|telefon|^tel$|handy|stra(?:ss|ß)e|adresse|geburt|^plz$|postleitzahl|wohnort"
    r"|姓名|名字|电话|手机|地址|生日|邮箱|邮编|身份证",
    re.IGNORECASE,
)
# What else than a person has a name.
THING = re.compile(
    r"(?:product|item|article|artikel|categor|class|division|department|brand|campaign|coupon|event|shop|store|page|plan)"
    r"[\W_]*name",
    re.IGNORECASE,
)


def plain_word(text: str) -> str:
    """In small letters, without signs."""
    return re.sub(r"[\W_]", "", text).lower()


def parts_of(name: str) -> frozenset[str]:
    """The words that a name is made of."""
    return frozenset(filter(None, map(plain_word, re.split(r"[\W_]|(?<=[a-z])(?=[A-Z])", name))))


def is_personal(name: str) -> bool:
    """Whether a column of this name may say who somebody is."""
    return PERSONAL.search(name) is not None and not THING.search(name)
