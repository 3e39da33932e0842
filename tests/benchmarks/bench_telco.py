"""The classifiers of churn on a data set that papers report: IBM Telco churn, beside scikit-learn's boosted trees.

`python tests/benchmarks/bench_telco.py --file telco.csv` holds our stages of Spark and scikit-learn's
HistGradientBoostingClassifier, with its defaults, against each other on the same columns and splits: five times two
halves, stratified. It says the mean of the ten AUCs and average precisions, their spread, and the lead with an interval
by the corrected resampled t-test (Nadeau and Bengio 2003). Without the file nothing is done.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pyspark.ml import Pipeline
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from scipy.stats import t
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold

from clm_spark.models.boosting import Xgboost
from clm_spark.models.catalogue import load_settings
from clm_spark.models.classifier import LABEL, Classifier
from clm_spark.models.linear import LoggedRegression
from clm_spark.models.trees import DecisionTree, Gbt, RandomForest
from clm_spark.session import build_session
from clm_spark.settings import Settings

FILE = Path(__file__).parents[3] / "shared" / "data" / "telco_churn" / "telco.csv"
OURS: dict[str, type[Classifier]] = {
    model.name: model for model in (LoggedRegression, DecisionTree, RandomForest, Gbt, Xgboost)
}
RIVAL = "scikit-learn"
SPLITS, REPEATS = 2, 5


def customers_of(file: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """A column per number and per value of each text, and who left. Eleven new customers have no total yet: 0."""
    telco = pd.read_csv(file)
    telco["TotalCharges"] = pd.to_numeric(telco["TotalCharges"], errors="coerce").fillna(0)
    columns = pd.get_dummies(telco.drop(columns=["customerID", "Churn"]), dtype=float)
    columns.columns = [f"f{number}" for number in range(columns.shape[1])]
    return columns.astype(float), (telco["Churn"] == "Yes").to_numpy()


def rivals_answers(columns: pd.DataFrame, left: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    values = columns.to_numpy()
    fitted = HistGradientBoostingClassifier(random_state=7).fit(values[train], left[train])
    return np.asarray(fitted.predict_proba(values[test])[:, 1])


def our_answers(
    model: type[Classifier], features: list[str], rows: DataFrame, settings: Settings, *, fold: str
) -> np.ndarray:
    """Margins of the tested rows, in their order; `fold` names the column that says which are tested."""
    own = type(model.__name__, (model,), {"features": tuple(features)})()
    fitted = Pipeline(stages=own.stages(settings)).fit(rows.where(~F.col(fold)))
    margin = vector_to_array("rawPrediction")[1].alias("margin")
    answers = fitted.transform(rows.where(fold)).select("row", margin).orderBy("row")
    return np.array([row.margin for row in answers.collect()])


def measured(
    spark: SparkSession, settings: Settings, file: Path, names: list[str]
) -> Iterator[tuple[str, float, float]]:
    """Model, AUC and average precision of every split."""
    columns, left = customers_of(file)
    splits = RepeatedStratifiedKFold(n_splits=SPLITS, n_repeats=REPEATS, random_state=7)
    pairs = list(splits.split(columns, left))
    told = columns.assign(row=range(len(columns)), customer_id=[f"c{n}" for n in range(len(columns))])
    told[LABEL] = left.astype(float)
    for number, (_, test) in enumerate(pairs):
        told[f"fold{number}"] = np.isin(np.arange(len(columns)), test)
    rows = spark.createDataFrame(told).repartition(2, "row").sortWithinPartitions("row").persist()
    for number, (train, test) in enumerate(pairs):
        answers = {RIVAL: rivals_answers(columns, left, train, test)}
        for name in names:
            answers[name] = our_answers(OURS[name], list(columns), rows, settings, fold=f"fold{number}")
        for name, scores in answers.items():
            yield name, roc_auc_score(left[test], scores), average_precision_score(left[test], scores)
        print(f"  split {number + 1} of {len(pairs)}", flush=True)


def show(figures: pd.DataFrame) -> None:
    """`figures` has model, auc and average_precision, a row per model and split."""
    rival = figures[figures.model == RIVAL].reset_index(drop=True)
    for model, of_model in figures.groupby("model", sort=False):
        auc, precision = of_model.auc, of_model.average_precision
        lead = of_model.reset_index(drop=True).auc - rival.auc
        # Splits share their rows: the variance of the mean is that of two halves, not of ten samples.
        error = np.sqrt((1 / len(lead) + 1 / (SPLITS - 1)) * lead.var(ddof=1))
        reach = t.ppf(0.975, len(lead) - 1) * error
        print(
            f"{model:20} AUC {auc.mean():.4f} (sd {auc.std(ddof=1):.4f}), average precision {precision.mean():.4f} "
            f"(sd {precision.std(ddof=1):.4f}), lead in AUC {lead.mean():+.4f} ({lead.mean() - reach:+.4f} to "
            f"{lead.mean() + reach:+.4f})"
        )


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--file", type=Path, default=Path(os.environ.get("TELCO_CHURN", FILE)))
    ask.add_argument(
        "--models", nargs="*", choices=list(OURS), default=["logistic_regression", "random_forest", "xgboost"]
    )
    asked = ask.parse_args()
    if not asked.file.is_file():
        print(
            f"skipped: the data set may not be redistributed, and is not at {asked.file} (--file or TELCO_CHURN names it)"
        )
        return
    settings = load_settings("demo", as_of="2024-01-01", overrides=["lakehouse.path=/tmp/bench_telco"])
    spark = build_session(settings, app_name="bench_telco")
    rows = list(measured(spark, settings, asked.file, asked.models))
    show(pd.DataFrame(rows, columns=["model", "auc", "average_precision"]))
    spark.stop()


if __name__ == "__main__":
    main()
