"""A family is added as CONTRIBUTING.md says, by the very diff that stands there."""

import importlib.util
import re
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType

import pytest
from leaving_customers import leaving_customers, their_orders
from pyspark.sql import functions as F

from clm_spark import models
from clm_spark.models import catalogue
from clm_spark.models.registry import Registry
from clm_spark.pipeline import model_jobs
from clm_spark.report.models import models as models_section
from clm_spark.settings import settings_from
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, CUSTOMER_SCORES, MODEL_METRICS
from clm_spark.tables.lake import Lake

ROOT = Path(__file__).parents[2]
AS_OF, STEP = date(2024, 3, 1), timedelta(days=28)
DAYS = [AS_OF - STEP * back for back in range(4)]


def module_of(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{file.stem}_of_the_diff", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """The files of the diff, applied to those of the repository; its module lies as if in clm_spark/models."""
    file = Path("clm_spark/models/catalogue.py")
    (tmp_path / file).parent.mkdir(parents=True)
    shutil.copy(ROOT / file, tmp_path / file)
    (tmp_path / "diff").write_text(re.search(r"```diff\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.S)[1])
    applied = subprocess.run(["git", "apply", "diff"], cwd=tmp_path, capture_output=True, text=True)
    assert applied.returncode == 0, applied.stderr
    train = (tmp_path / "jobs/train_spending.py").read_text()
    (tmp_path / "jobs/score_spending.py").write_text(re.sub(r"\btrain\b", "score", train))
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / file.parent)])
    yield tmp_path
    sys.modules.pop("clm_spark.models.spending", None)


@pytest.mark.long
def test_a_family_is_one_file_one_declaration_and_one_job(tree, new_lake, monkeypatch):
    grown = module_of(tree / "clm_spark/models/catalogue.py")
    assert len(grown.TASKS) == len(catalogue.TASKS) + 1
    assert len(grown.MODELS) == len(catalogue.MODELS) + 2
    for place in ("clm_spark.models.catalogue", "clm_spark.models.flow", "clm_spark.pipeline"):
        monkeypatch.setattr(f"{place}.MODELS", grown.MODELS)
    for place in ("clm_spark.models.catalogue", "clm_spark.models.flow", "clm_spark.report.models"):
        monkeypatch.setattr(f"{place}.TASKS", grown.TASKS)
    lake = new_lake(features={"panel_every_days": 28, "panel_size": 4}, evaluation={"replicates": 50, "folds": 2})
    values = lake.settings.model_dump(exclude={"models"}) | {"spending": {"horizon_days": 28}}
    lake = Lake(lake.spark, settings_from(values, catalogue.sections()))
    labelled = leaving_customers(lake.spark, days=DAYS, num_customers=200).persist()
    lake.replace(labelled.drop("is_churned"), into=CUSTOMER_FEATURES)
    orders = their_orders(labelled).withColumn("refund_cents", F.lit(0).cast("bigint"))
    lake.replace(orders, into=CUSTOMER_DAYS)

    for job in ("train_spending", "score_spending"):
        module_of(tree / f"jobs/{job}.py").run(lake, lake.settings)
    figures = {
        row.model: row.value
        for row in lake.read(MODEL_METRICS).where("task = 'spending' AND metric = 'average_precision'").collect()
    }
    assert figures.keys() == {"revenue_rule", "spending_regression"}
    served = Registry(lake.settings).champion("spending", AS_OF)
    assert served.model == max(figures, key=figures.get)
    scores = lake.read(CUSTOMER_SCORES).where("score = 'spending'").collect()
    assert {row.model_version for row in scores} == {served.version}
    assert all(0 < row.value < 1 for row in scores)

    jobs = {job.name: job for job in model_jobs(grown.TASKS)}
    assert CUSTOMER_FEATURES in jobs["train_spending"].reads
    assert CUSTOMER_SCORES in jobs["score_spending"].writes
    assert "Spending" in str(models_section(lake).grids[0].rows)
