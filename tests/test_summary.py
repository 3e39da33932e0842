from pyspark.sql import Row
from rich.console import Console

from clm_spark import summary


def test_figures_of_models_are_whole_on_eighty_columns(lake, monkeypatch):
    def figure(metric, model, value, low=None, high=None, *, is_champion=False, is_baseline=False):
        kind = {"is_champion": is_champion, "is_incumbent": False, "is_baseline": is_baseline}
        return Row(task="recommendation", metric=metric, model=model, value=value, low=low, high=high, **kind)

    found = [
        figure("false_negative_share", "logistic_regression", 0.43412, 0.42068, 0.44761, is_champion=True),
        figure("false_negative_share", "recent_popularity", 0.46957, 0.42632, 0.50293, is_baseline=True),
        figure("gini_at_20", "als", 0.5),
    ]
    rows = lake.spark.createDataFrame(found, "task string, metric string, model string, value double, low double, "
        "high double, is_champion boolean, is_incumbent boolean, is_baseline boolean")  # fmt: skip
    monkeypatch.setattr(summary, "known_rows", lambda *_, **__: rows)
    out = Console(width=80, record=True)
    for grid in summary._model_figures(lake):
        out.print(grid)
    lines = [line.split() for line in out.export_text().splitlines()]
    assert lines[0] == ["models", "compared:", "recommendation"]
    assert lines[3:] == [
        ["false_negative_share", "recent_popularity", "0.470", "[0.426,", "0.503]", "baseline"],
        ["logistic_regression", "0.434", "[0.421,", "0.448]", "champion"],
        ["gini_at_20", "als", "0.500", "challenger"],
    ]
