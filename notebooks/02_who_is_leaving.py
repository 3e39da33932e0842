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
# # Who is leaving
#
# Whether the churn scores can be trusted, how many customers are at risk, in which segments, and how they differ from the
# others.
#
# Run the jobs first (`make run`). The notebook reads tables and writes none.

# %%
import os

import altair as alt
from pyspark.sql import functions as F

from clm_spark.models.catalogue import load_settings
from clm_spark.session import build_session
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

# %% tags=["parameters"]
profile = os.environ.get("CLM_PROFILE", "local")
as_of = os.environ.get("CLM_AS_OF", "2017-10-01")
risky_deciles = 2  # how many deciles, from the top, are worth a call

# %%
if "lake" not in globals():
    settings = load_settings(profile, as_of=as_of)
    lake = Lake(build_session(settings, app_name="who is leaving"), settings)
settings = lake.settings

# %% [markdown]
# ## Can the scores be trusted?
#
# Measured on days that the models had not seen. The baselines are rules anyone can write in SQL.

# %%
figures = lake.read_as_of(t.MODEL_METRICS).where("task = 'churn'").toPandas()
figures = figures.pivot(index=["is_baseline", "model", "is_incumbent"], columns="metric", values="value")
figures

# %%
deciles = (
    lake.read_as_of(t.SCORE_DECILES).where("score = 'churn'").orderBy("model", "model_version", "decile").toPandas()
)
lift = (
    alt.Chart(deciles).mark_line(point=True).encode(x="decile:O", y="lift:Q", color="model:N", detail="model_version:N")
)
lift

# %% [markdown]
# Of the customers in the first deciles: how many left, and how many did the model predict?

# %%
checked = deciles[["model", "decile", "num_customers", "mean_probability", "observed_share", "lift"]]
checked[checked.decile <= risky_deciles]

# %% [markdown]
# ## How many are at risk today?

# %%
scores = lake.read_as_of(t.CUSTOMER_SCORES).where("score = 'churn'")
today = (
    scores.groupBy("decile")
    .agg(F.count("*").alias("num_customers"), F.avg("value").alias("mean_probability"))
    .orderBy("decile")
    .toPandas()
)
num_expected = float((today.num_customers * today.mean_probability).sum())
print(f"{num_expected:.0f} of {today.num_customers.sum()} customers are expected to leave")
today

# %% [markdown]
# ## Which segments lose customers?

# %%
names = lake.read_as_of(t.SEGMENT_PROFILES).select("segment", "description")
by_segment = (
    scores.join(lake.read_as_of(t.SEGMENTS).select("customer_id", "segment"), on="customer_id", how="inner")
    .groupBy("segment")
    .agg(
        F.count("*").alias("num_asked"),
        F.count_if(F.col("decile") <= risky_deciles).alias("num_risky"),
        F.avg("value").alias("mean_probability"),
    )
    .join(names, on="segment", how="left")
    .withColumn("risky_share", F.col("num_risky") / F.col("num_asked"))
    .orderBy("segment")
    .toPandas()
)
by_segment

# %% [markdown]
# ## In which stage of their life are they?
#
# The stage follows from purchases and silence alone, the probability from all that is known. Customers who are risky and not
# yet silent for long are those whom a stage would miss.

# %%
stages = lake.read_as_of(t.LIFECYCLE_STAGES).select("customer_id", "stage")
by_stage = (
    scores.join(stages, on="customer_id", how="inner")
    .groupBy("stage")
    .agg(
        F.count("*").alias("num_customers"),
        F.count_if(F.col("decile") <= risky_deciles).alias("num_risky"),
        F.avg("value").alias("mean_probability"),
    )
    .orderBy(F.desc("mean_probability"), "stage")
    .toPandas()
)
by_stage

# %% [markdown]
# ## Why?
#
# What moved the scores of the risky most, by the words before the customer's own figure. Empty where the model in use gives no
# reasons.

# %%
told = scores.where(F.col("decile") <= risky_deciles).select(F.explode("reasons").alias("told"))
why = (
    told.groupBy(F.substring_index("told", ":", 1).alias("reason"))
    .agg(F.count("*").alias("num_customers"))
    .orderBy(F.desc("num_customers"), "reason")
    .limit(10)
    .toPandas()
)
why

# %% [markdown]
# ## What sets them apart?
#
# Means of the risky and of the others, and the distance between them in standard deviations of all: the figures at
# the top separate them most. It is a description, not a cause.

# %%
reasons = (
    "purchase_recency_days",
    "overdue_ratio",
    "num_orders_30d",
    "num_orders_90d",
    "net_revenue_90d_cents",
    "orders_trend",
    "tenure_days",
)
known = scores.join(lake.read_as_of(t.CUSTOMER_FEATURES), on=["customer_id", "as_of"], how="inner")
is_risky = F.col("decile") <= risky_deciles
means = known.agg(
    *(F.avg(F.when(is_risky, F.col(name))).alias(f"risky {name}") for name in reasons),
    *(F.avg(F.when(~is_risky, F.col(name))).alias(f"others {name}") for name in reasons),
    *(F.stddev(name).alias(f"spread {name}") for name in reasons),
).toPandas().iloc[0]  # fmt: skip
apart = {
    name: (means[f"risky {name}"] - means[f"others {name}"]) / means[f"spread {name}"]
    for name in reasons
    if means[f"spread {name}"]
}
apart = dict(sorted(apart.items(), key=lambda pair: -abs(pair[1])))
for name, distance in apart.items():
    print(
        f"{name:24} risky {means[f'risky {name}']:10.1f}   others {means[f'others {name}']:10.1f}   {distance:+.2f} sd"
    )

# %% [markdown]
# ## Whom to call first
#
# The risky whose last 90 days were worth most. `notebooks/sql/top_leavers_by_value.sql` asks the same of the riskiest tenth.

# %%
worth_a_call = (
    known.where(is_risky)
    .withColumn("revenue_at_risk", F.round(F.col("value") * F.col("net_revenue_90d_cents") / 100, 2))
    .orderBy(F.desc("revenue_at_risk"), "customer_id")
    .select("customer_id", "decile", "value", "purchase_recency_days", "num_orders_90d", "revenue_at_risk")
    .limit(10)
    .toPandas()
)
worth_a_call
