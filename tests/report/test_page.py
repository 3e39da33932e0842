import re
from datetime import date, timedelta
from html.parser import HTMLParser

import pandas as pd
import pytest
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.job import run_job
from clm_spark.jobs import write_report
from clm_spark.report.figures import cells_of_rfm, leaving_by_decile
from clm_spark.report.metrics import verdict
from clm_spark.report.page import page_from_tables
from clm_spark.report.place import report_path
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

# Whichever test comes first waits for the small shop to be filled.
pytestmark = pytest.mark.timeout(1500)

SECTIONS = [
    "shop",
    "funnel",
    "lifecycle",
    "segments",
    "models",
    "churn",
    "value",
    "recommendations",
    "ledger",
    "tables",
]
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Outline(HTMLParser):
    """Text of each section, and the elements that matter to those who cannot see the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.section = ""
        self.text: dict[str, str] = {}
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.elements.append((tag, named))
        self.section = named["id"] if tag == "section" else self.section
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "svg" not in self.open and data.strip():
            self.text[self.section] = f"{self.text.get(self.section, '')} {data.strip()}"


@pytest.fixture(scope="module")
def page(small_shop):
    return page_from_tables(small_shop.lake)


def test_every_section_says_what_the_tables_say(page, small_shop):
    outline, truth = Outline(page), small_shop.truth
    assert outline.open == []
    assert [named["id"] for tag, named in outline.elements if tag == "section"] == SECTIONS
    visits, buying = truth.num_recent_visits, truth.num_recent_buying
    expected = {
        "": ["2024-03-01", "events from 2023-12-12 to 2024-02-29", "30 customers known"],
        "shop": ["The week before 2024-03-01 brought", "each is whole"],
        "funnel": [f"Of {visits} visits in the 90 days before 2024-03-01, {buying / visits:.1%} end with a purchase."],
        "lifecycle": [
            "Of 30 customers as of 2024-03-01,",
            "first bought in customers after 1 mo.",
            "The cells of recency, frequency and money as of 2024-03-01; net revenue of the last 365 days.",
        ],
        "segments": [
            "2 segments as of 2024-03-01. Segment 0 (regulars) is",
            "occasional buyers buys now and then more orders (+1.0)",
            "k = 2 chosen 2 60.0% 0.512 0.930 k = 3 - 3 60.0% 0.598 0.410",
            "Silhouette of K-Means: 0.512",
        ],
        "models": [
            "Churn Boosted trees",
            "Logistic regression 0.690 0.080 (0.050 to 0.110) first comparison",
            "Will an active customer buy nothing in the days to come?",
        ],
        "churn": [
            "Best model: Boosted trees. It beats the baseline Longest silence: Average precision 0.702 against 0.610.",
            "Boosted trees champion 0.861 (0.841 to 0.881) 0.702 (0.682 to 0.722) 0.100 (0.080 to 0.120) 30 2024-02-02",
            f"by model {'churn-2024-03-01'}",
            "of 30 customers are expected to leave",
            "of the 19,200.00 that all of them are expected to bring in 56 days",
            "decile customers mean probability expected to leave value at risk",
        ],
        "value": [
            "Best model: BG/NBD and Gamma-Gamma. It beats the baseline Revenue of the last 90 days: Squared skill 0.420 "
            "against 0.350. Served: BG/NBD and Gamma-Gamma.",
            "as BG/NBD and Gamma-Gamma predicted it that morning",
            "the first tenth of the customers brings 15.6% of all",
            "Lifetime value BG/NBD and Gamma-Gamma 30 640.00 19,200.00",
        ],
        "recommendations": [
            "Best model: Transformer. It beats the baseline Popularity: NDCG@10 0.150 against 0.080. Served: Transformer.",
            "Email Permission 180 600 30 Home Stock 9 40 12",
            "rank last items, newest first recommended source reason",
            "(kitchen.p",
        ],
        "ledger": [
            f"{truth.num_events + 2:,} records read = {truth.num_events:,} kept + 1 rejected + 1 duplicates",
            "unparsable 1",
        ],
        "tables": ["silver.events ingest_events", "gold.item_sequences build_interactions"],
    }
    missing = {place: [words for words in said if words not in outline.text[place]] for place, said in expected.items()}
    assert {place: words for place, words in missing.items() if words} == {}
    assert "Nothing to show" not in page
    assert "nan" not in " ".join(outline.text.values()).lower().split()


@pytest.mark.parametrize(
    ("ours", "theirs", "behind_low", "said"),
    [
        (0.7, 0.6, 0.01, "It beats the baseline"),
        (0.7, 0.6, -0.01, "It is ahead of, but not beyond chance, the baseline"),
        (0.7, 0.6, None, "It beats the baseline"),
        (0.6, 0.7, None, "It does not beat the baseline"),
    ],
)
def test_a_lead_that_may_be_chance_is_called_one(ours, theirs, behind_low, said):
    columns = ["model", "metric", "value", "is_baseline", "is_champion", "behind_low"]
    rows = [("gbt", "auc", ours, False, True, None), ("longest_silence", "auc", theirs, True, False, behind_low)]
    assert said in verdict(pd.DataFrame(rows, columns=columns), metric="auc")


def test_the_page_needs_nothing_else_and_can_be_heard(page):
    outline = Outline(page)
    links = re.findall(r"""(?:src|href)=["']([^"'#][^"']*)|url\((?!#)([^)]*)\)|@import""", page)
    assert [link for link in links if link != ("", "")] == []
    assert "<script" not in page
    pictures = [named for tag, named in outline.elements if tag == "svg"]
    assert len(pictures) == 15
    assert all(named["role"] == "img" and len(named["aria-label"]) > 20 for named in pictures)
    ids = [named["id"] for _, named in outline.elements if "id" in named]
    assert len(ids) == len(set(ids))
    assert sum(tag == "figcaption" for tag, _ in outline.elements) == len(pictures)


def test_value_at_risk_is_each_customers_value_times_the_probability(spark):
    scored = [
        ("a", "churn", 0.5, 1), ("b", "churn", 0.1, 1), ("c", "churn", 0.2, 2),
        ("a", "value", 1000.0, 1), ("b", "value", 200.0, 2), ("d", "value", 9000.0, 1), ("a", "refunds", 0.9, 1),
    ]  # fmt: skip
    rows = [(*row, date(2024, 3, 1), "v") for row in scored]
    columns = "customer_id string, score string, value double, decile int, as_of date, model_version string"
    first, second = leaving_by_decile(spark.createDataFrame(rows, columns)).collect()
    assert (first.num_customers, first.mean_probability, first.at_risk_cents, first.value_cents) == (2, 0.3, 520, 1200)
    assert (second.num_customers, second.mean_probability, second.at_risk_cents, second.value_cents) == (
        1,
        0.2,
        None,
        None,
    )


def test_fields_of_rfm_are_recency_by_the_mean_of_frequency_and_money(spark):
    scored = [(5, 5, 4, "champions", 900), (5, 4, 5, "champions", 100), (1, 1, 2, "hibernating", -50)]
    rows = [(date(2024, 3, 1), *row) for row in scored]
    columns = (
        "as_of date, recency_score int, frequency_score int, monetary_score int, cell string, net_revenue_cents bigint"
    )
    fields = cells_of_rfm(spark.createDataFrame(rows, columns)).drop("as_of").orderBy("recency_score").collect()
    assert [tuple(field) for field in fields] == [(1, 2, "hibernating", 1, -50), (5, 5, "champions", 2, 1000)]


def test_a_log_of_purchases_alone_has_no_made_up_funnel(new_lake, small_shop):
    lake, full = new_lake(), small_shop.lake
    # The same shop as a grocer sees it: nothing but purchases, campaigns sent and coupons redeemed.
    kind = F.when(F.col("kind") == "view", "campaign_sent").when(F.col("kind") == "cart", "coupon_redeemed")
    events = full.read(t.EVENTS).withColumn("kind", F.coalesce(kind, "kind"))
    days = full.read(t.CUSTOMER_DAYS).withColumns(
        {"num_campaigns": F.col("num_views"), "num_coupons": F.col("num_carts"), "num_views": F.lit(0).cast("bigint")}
    )
    lake.replace(events, into=t.EVENTS)
    lake.replace(days, into=t.CUSTOMER_DAYS)
    text = Outline(page_from_tables(lake)).text
    assert "The log holds no view and no cart events" in text["funnel"]
    assert re.search(
        r"campaigns reached 30 of 30 customers seen, and [\d.]+% of those reached redeemed", text["funnel"]
    )
    jobs = {
        "models": "train_segments",
        "segments": "train_segments",
        "churn": "train_churn",
        "value": "train_value",
        "ledger": "ingest_events",
        "tables": "ingest_events",
    }
    for section, job in jobs.items():
        assert re.search(rf"Nothing to show yet: .* The job {job} writes it\.", text[section]), text[section]


def test_a_model_that_was_not_learned_is_named_with_the_reason(lake):
    def train(own, settings):
        own.too_little.append("gbt: two customers")
        raise TooLittleDataError("churn has no new model")

    run_job(lake.spark, "train_churn", train, lake.settings, reads_events=False)
    text = Outline(page_from_tables(lake)).text
    reason = "gbt: two customers; churn has no new model"
    assert f"Nothing to show yet: train_churn: {reason}." in text["churn"]
    assert f"What was not learned for this day. task why Churn {reason}" in text["models"]
    assert "Nothing to show yet: gold.segment_profiles has no rows for this day." in text["segments"]
    yesterday = lake.settings.model_copy(update={"as_of": lake.settings.as_of - timedelta(days=1)})
    assert (
        "Nothing to show yet: gold.model_metrics"
        in Outline(page_from_tables(Lake(lake.spark, yesterday))).text["churn"]
    )


def test_the_page_replaces_the_old_one_whole(lake, tmp_path, monkeypatch):
    settings = lake.settings
    path = tmp_path / "report.html"
    assert report_path(settings) == f"file://{path}"
    path.write_text("old")
    with monkeypatch.context() as broken:
        broken.setattr(write_report, "page_from_tables", lambda lake: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            write_report.run(lake, settings)
    assert path.read_text() == "old"
    write_report.run(lake, settings)  # an empty lakehouse: every section says what is missing
    assert path.read_text().count("Nothing to show yet") == len(SECTIONS)
    assert [file.name for file in tmp_path.iterdir() if "report" in file.name] == ["report.html"]

    elsewhere = settings.lakehouse.model_copy(update={"path": "s3a://shop/lakehouse/"})
    assert report_path(settings.model_copy(update={"lakehouse": elsewhere})) == "s3a://shop/lakehouse/report.html"
