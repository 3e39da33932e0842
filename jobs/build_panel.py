"""customer_days, identities -> customer_features, customer_labels: features of many past mornings at once, and labels."""

from pyspark.sql import functions as F

from clm_spark.features.labels import known_labels
from clm_spark.features.panel import asked_days
from clm_spark.features.refresh import update_customer_features
from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, CUSTOMER_LABELS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the features of each morning of the panel as known then, and labels as known by as_of."""
    days, asked = asked_days(settings), settings.panel
    update_customer_features(lake, days)
    customers = lake.read(CUSTOMER_FEATURES).where(F.col("as_of").isin(days)).select("customer_id", "as_of")
    options = {name: getattr(asked, name) for name in ("gap_days", "horizon_days")}
    labels = known_labels(lake, customers, days=days, known_on=settings.as_of, **options)
    constants = {**options, "labelled_on": settings.as_of}
    labels = labels.withColumns({name: F.lit(value) for name, value in constants.items()})
    lake.replace(labels, into=CUSTOMER_LABELS, as_of=days)


if __name__ == "__main__":
    raise SystemExit(main(run))
