"""A family is added as CONTRIBUTING.md says, from the very lines that stand there."""

import re
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest
from leaving_customers import leaving_customers, their_orders

from clm_spark import models
from clm_spark.models import catalogue
from clm_spark.models.flow import score, train
from clm_spark.models.registry import Registry
from clm_spark.pipeline import model_jobs
from clm_spark.report.models import models as models_section
from clm_spark.settings import settings_from
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, CUSTOMER_SCORES, MODEL_METRICS
from clm_spark.tables.lake import Lake

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"
AS_OF, STEP = date(2024, 3, 1), timedelta(days=28)
DAYS = [AS_OF - STEP * back for back in range(4)]


def added_lines(file: str) -> str:
    """What CONTRIBUTING.md's diff adds to a file."""
    diff = re.search(rf"\+\+\+ b/{re.escape(file)}\n@@.*\n((?:\+.*\n)+)", CONTRIBUTING.read_text())
    assert diff, f"CONTRIBUTING.md shows no diff of {file}"
    return "".join(line[1:] + "\n" for line in diff[1].splitlines())


@pytest.fixture
def family(tmp_path, monkeypatch):
    """The module of the diff, as if it lay in clm_spark/models, and its declarations."""
    (tmp_path / "spending.py").write_text(added_lines("clm_spark/models/spending.py"))
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    from clm_spark.models import spending

    yield spending
    del sys.modules["clm_spark.models.spending"]
    del models.spending


def test_a_family_is_one_file_one_declaration_and_one_job(family, new_lake, monkeypatch):
    monkeypatch.setattr(catalogue, "TASKS", (*catalogue.TASKS, family.Spending()))
    monkeypatch.setattr(catalogue, "MODELS", (*catalogue.MODELS, family.RevenueRule(), family.SpendingRegression()))
    lake = new_lake(features={"panel_every_days": 28, "panel_size": 4}, evaluation={"replicates": 50, "folds": 2})
    values = lake.settings.model_dump(exclude={"models"}) | {"spending": {"horizon_days": 28}}
    lake = Lake(lake.spark, settings_from(values, catalogue.sections()))
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=200).persist()
    lake.replace(labelled.drop("is_churned"), into=CUSTOMER_FEATURES)
    lake.replace(their_orders(labelled), into=CUSTOMER_DAYS)

    train(lake, catalogue.task_named("spending"))
    score(lake, catalogue.task_named("spending"))
    served = Registry(lake.settings).champion("spending", AS_OF)
    assert served.model in ("revenue_rule", "spending_regression")
    rows = lake.read(CUSTOMER_SCORES).where("score = 'spending'")
    assert {row.model_version for row in rows.select("model_version").distinct().collect()} == {served.version}
    tested = {row.model for row in lake.read(MODEL_METRICS).where("task = 'spending'").collect()}
    assert tested == {"revenue_rule", "spending_regression"}

    monkeypatch.setattr("clm_spark.pipeline.MODELS", catalogue.MODELS)
    jobs = {job.name: job for job in model_jobs(catalogue.TASKS)}
    assert CUSTOMER_FEATURES in jobs["train_spending"].reads
    assert CUSTOMER_SCORES in jobs["score_spending"].writes
    monkeypatch.setattr("clm_spark.report.models.TASKS", catalogue.TASKS)
    assert "Spending" in str(models_section(lake).grids[0].rows)
