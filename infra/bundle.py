"""Write the tasks of resources/daily.job.yml from the pipeline's graph: `make bundle`, after a job came or went."""

import sys
from pathlib import Path

from clm_spark.pipeline import JOBS, Job, graph_of, nearest_only

FILE = Path(__file__).parent / "resources" / "daily.job.yml"
TASKS = "      tasks:\n"
LIBRARIES = """ &wheel
            - whl: ../../dist/*.whl
            - pypi: {package: altair>=6} # what the runtime lacks; the extras would replace its pyspark
            - pypi: {package: vl-convert-python>=1.8}
            - pypi: {package: deltalake>=1.2}
            - pypi: {package: xgboost-cpu>=3.1}"""


def with_tasks(text: str) -> str:
    """The file with a task per job behind its head, which is written by hand."""
    head, _, _ = text.partition(TASKS)
    graph = nearest_only(graph_of(JOBS))
    return head + TASKS + "".join(_task(job, [name for name in graph if name in graph[job.name]]) for job in JOBS)


def _task(job: Job, follows: list[str]) -> str:
    depends_on = ", ".join(f"{{task_key: {name}}}" for name in follows)
    return (
        f"        - task_key: {job.name}\n"
        + (f"          depends_on: [{depends_on}]\n" if follows else "")
        + "          job_cluster_key: spark\n"
        f"          libraries:{LIBRARIES if job is JOBS[0] else ' *wheel'}\n"
        "          python_wheel_task:\n"
        "            package_name: clm_spark\n"
        "            entry_point: clm\n"
        f'            parameters: [run, {job.name}, --allow-missing, --profile, "${{var.profile}}", --as-of, '
        '"{{job.parameters.as_of}}", --set, "lakehouse.catalog=${var.catalog}", '
        '--set, "lakehouse.path=/Volumes/${var.catalog}/gold/clm_spark"]\n'
    )


if __name__ == "__main__":
    FILE.write_text(with_tasks(FILE.read_text()))
    sys.stdout.write(f"{FILE}: {len(JOBS)} tasks\n")
