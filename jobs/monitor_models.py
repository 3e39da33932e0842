"""customer_scores, customer_days, feature_drift, model_metrics -> model_monitoring: age, drift and outcomes of models in use."""

import logging

from clm_spark.job import main
from clm_spark.models.monitoring import model_monitoring
from clm_spark.settings import Settings
from clm_spark.tables.catalog import MODEL_MONITORING
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)


def run(lake: Lake, settings: Settings) -> None:
    """Write the readings of as_of, and say which are beyond a limit."""
    rows = model_monitoring(lake)
    lake.replace(rows, into=MODEL_MONITORING, is_key_proven=True, as_of=settings.as_of)
    for row in rows.where("is_beyond").collect():  # a few per task
        log.warning("%s: %s of %s is %.3g, beyond its limit", row.task, row.figure, row.model_version, row.value)


if __name__ == "__main__":
    raise SystemExit(main(run))
