# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Follow one click
#
# One purchase on its way through the lakehouse: the line of the raw log, the event it became, the visit it was part
# of, the day, the customer's features, and the score and recommendations that follow from them.
#
# Run the jobs first (`make run`). The notebook reads tables and writes none.

# %%
import os

from pyspark.sql import functions as F

from clm_spark.events.ingest.parse import typed_events
from clm_spark.keys import pseudonym_key
from clm_spark.models.catalogue import load_settings
from clm_spark.session import build_session
from clm_spark.sources import open_source
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

# %% tags=["parameters"]
profile = os.environ.get("CLM_PROFILE", "local")
as_of = os.environ.get("CLM_AS_OF", "2017-10-01")
event_id = ""  # one to follow; empty: the last purchase known before as_of

# %%
if "lake" not in globals():
    settings = load_settings(profile, as_of=as_of)
    lake = Lake(build_session(settings, app_name="follow one click"), settings)
settings = lake.settings

# %% [markdown]
# ## The event
#
# `read_as_of` gives the log as known on the morning of `as_of`.

# %%
events = lake.read_as_of(t.EVENTS)
if event_id:
    candidates = events.where(F.col("event_id") == event_id)
else:
    candidates = events.where("kind = 'purchase'").orderBy(F.desc("occurred_at"), "event_id")
event = candidates.limit(1).toPandas().iloc[0]
event

# %% [markdown]
# ## Where it came from
#
# Bronze stores every record as it arrived. An event's id is a hash over its content, so the same parser finds the record
# again. From silver on there is no raw customer id, only a keyed pseudonym.

# %%
source = open_source(settings.ingest)
batch = lake.read(t.RAW_EVENTS).where(F.col("batch_id") == event.batch_id)
typed = typed_events(
    source.fields(batch),
    source=source.name,
    time_format=source.time_format,
    time_zone=source.time_zone,
    known_at=settings.ingest.known_at,
    key=pseudonym_key(settings),
)
origin = typed.where(F.col("event_id") == event.event_id).select("file", "position", "record").toPandas()
origin

# %% [markdown]
# ## Its visit
#
# A visit ends with a silence. Its id is a hash over its customer and its start.


# %%
def moment(time):
    """A time that came to pandas, where it is UTC without saying so, back as Spark's."""
    return F.lit(str(time)).cast("timestamp")


visits = lake.read(t.SESSIONS).where(F.col("customer_id") == event.customer_id)
visit = visits.where(moment(event.occurred_at).between(F.col("started_at"), F.col("ended_at"))).toPandas().iloc[0]
visit

# %%
course = (
    events.where(F.col("customer_id") == event.customer_id)
    .where(F.col("occurred_at").between(moment(visit.started_at), moment(visit.ended_at)))
    .orderBy("occurred_at", "event_id")
    .select("event_id", "occurred_at", "kind", "item_id", "category", "quantity", "amount_cents")
    .limit(50)
    .toPandas()
)
course

# %% [markdown]
# ## Its day
#
# The partial aggregates of the customer's day. Windows of 7, 30 and 90 days are sums of these rows.

# %%
days = lake.read_as_of(t.CUSTOMER_DAYS).where(F.col("customer_id") == event.customer_id)
day = days.where(F.col("day_on") == F.lit(event.occurred_at.date())).toPandas().iloc[0]
day

# %% [markdown]
# ## The features of the customer
#
# The features of the last 30 days are the sums of the rows above.

# %%
features = lake.read_as_of(t.CUSTOMER_FEATURES).where(F.col("customer_id") == event.customer_id).toPandas().iloc[0]
last_30_days = days.where(F.datediff(F.lit(settings.as_of), F.col("day_on")) <= 30)
by_hand = last_30_days.agg(
    F.sum("num_orders").alias("num_orders_30d"),
    F.sum(F.col("revenue_cents") - F.col("refund_cents")).alias("net_revenue_30d_cents"),
).toPandas().iloc[0]  # fmt: skip
assert by_hand.num_orders_30d == features.num_orders_30d
assert by_hand.net_revenue_30d_cents == features.net_revenue_30d_cents
features

# %% [markdown]
# ## The scores
#
# `churn` is the probability that the customer buys nothing in the coming days; `value` what they are expected to bring, in
# cents, beside what follows from how they bought so far. The decile is among all customers of that score.

# %%
scores = lake.read_as_of(t.CUSTOMER_SCORES).where(F.col("customer_id") == event.customer_id).orderBy("score").toPandas()
scores

# %% [markdown]
# ## The recommendations
#
# The list on the home page, each item with its category, where it comes from and why.

# %%
items = lake.read_as_of(t.ITEM_VOCABULARY).select("item_id", "category")
recommended = (
    lake.read_as_of(t.ITEM_RECOMMENDATIONS)
    .where((F.col("customer_id") == event.customer_id) & (F.col("surface") == "home") & (F.col("rank") <= 5))
    .join(items, on="item_id", how="left")
    .orderBy("rank")
    .select("rank", "item_id", "category", "source", "reason")
    .toPandas()
)
recommended
