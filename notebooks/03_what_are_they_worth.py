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
# # What are they worth
#
# Whether the expected values can be trusted, how much of the coming revenue hangs on how few customers, in which stages they
# are, and where leaving would cost most.
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

# %%
if "lake" not in globals():
    settings = load_settings(profile, as_of=as_of)
    lake = Lake(build_session(settings, app_name="what are they worth"), settings)

# %% [markdown]
# ## Can the values be trusted?
#
# Measured on days that the models had not seen, beside rules that carry the past on. The squared error decides.

# %%
figures = lake.read_as_of(t.MODEL_METRICS).where("task = 'value'").toPandas()
figures = figures.pivot_table(index=["is_baseline", "model"], columns="metric", values="value")
figures

# %% [markdown]
# What the tenths of the customers were expected to bring, and what they brought.

# %%
tested = lake.read_as_of(t.SCORE_DECILES).where("score = 'value'").orderBy("model", "decile").toPandas()
tested = tested[["model", "decile", "num_customers", "mean_value", "mean_observed"]]
points = alt.Chart(tested).mark_point(filled=True)
points.encode(x="mean_value:Q", y="mean_observed:Q", color="model:N", tooltip=["decile", "num_customers"])

# %% [markdown]
# ## How much hangs on how few?

# %%
values = lake.read_as_of(t.CUSTOMER_SCORES).where("score = 'value'")
today = (
    values.groupBy("decile")
    .agg(F.count("*").alias("num_customers"), F.sum("value").alias("value_cents"))
    .orderBy("decile")
    .toPandas()
)
total_cents = float(today.value_cents.sum())
best_fifth_share = float(today.value_cents[today.decile <= 2].sum()) / total_cents if total_cents else 0.0
print(f"{total_cents / 100:,.2f} are expected; the best fifth of the customers brings {best_fifth_share:.0%} of it")
alt.Chart(today).mark_bar().encode(x="decile:O", y="value_cents:Q")

# %% [markdown]
# ## In which stages are they?

# %%
stages = lake.read_as_of(t.LIFECYCLE_STAGES).select("customer_id", "stage")
by_stage = (
    values.join(stages, on="customer_id", how="inner")
    .groupBy("stage")
    .agg(F.count("*").alias("num_customers"), F.sum("value").alias("value_cents"), F.avg("value").alias("mean_cents"))
    .orderBy(F.desc("value_cents"), "stage")
    .toPandas()
)
by_stage

# %% [markdown]
# ## Where would leaving cost most?
#
# Expected lifetime value times the probability of buying nothing in the days to come. It ranks whom to look after; it is no
# forecast of a loss, as the value already counts on some leaving.

# %%
churn = lake.read_as_of(t.CUSTOMER_SCORES).where("score = 'churn'")
lifetime = lake.read_as_of(t.CUSTOMER_SCORES).where("score = 'lifetime_value'")
at_stake = (
    lifetime.select("customer_id", (F.col("value") / 100).alias("lifetime_value"))
    .join(
        churn.select("customer_id", F.col("value").alias("churn_probability"), "reasons"), on="customer_id", how="inner"
    )
    .join(stages, on="customer_id", how="left")
    .withColumn("expected_loss", F.round(F.col("lifetime_value") * F.col("churn_probability"), 2))
    .orderBy(F.desc("expected_loss"), "customer_id")
    .limit(10)
    .toPandas()
)
at_stake
