# Every target sets up what it needs first; a second time that takes a second.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

EXTRA ?= train
AS_OF ?= 2017-10-01
CUSTOMERS ?= 2000
DAYS ?= 180
BIN := .venv/bin
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    --no-annotate $(if $(UPGRADE),--upgrade)

.PHONY: help run test test-long check setup data bundle wheel pack requirements demo bench-small bench-demo bench-ingest bench-features bench-items bench-vocabulary bench-sessions bench-evaluation bench-stages bench-churn bench-telco bench-value bench-baskets bench-next-item bench-train bench-beauty bench-movielens bench-retailrocket bench-tafeng bench-lists bench-ranker bench-pages bench-als bench-als-fit soak-tests soak-ingest soak-cluster soak-hdfs soak-s3 clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## set up, fetch The Complete Journey, run every job on it as of AS_OF (2017-10-01)
	@infra/setup.sh train
	@$(BIN)/python infra/data/complete_journey.py
	@$(BIN)/clm run all --profile local --as-of $(AS_OF)

test: ## set up, then pass the tests but the long ones (PYTEST="-k lake" chooses)
	@infra/setup.sh dev
	@$(BIN)/python -m pytest -m "not long and not soak" $(PYTEST)

test-long: ## the long ones: whole jobs, training, migrations, streams, late files, persons, bots, keys, a rank that fails
	@infra/setup.sh dev
	@$(BIN)/python -m pytest --compiled -m "long and not soak"

check: ## style, types, import layers and dependencies
	@infra/setup.sh dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# The package alone must not import what only contributors have; with the tests, every dependency is used.
	$(BIN)/deptry clm_spark --optional-dependencies-dev-groups bench,dev
	$(BIN)/deptry clm_spark infra infra/*/ notebooks tests tests/*/ tests/*/*/

setup: ## make .venv for EXTRA: spark (no torch), train (default), bench, dev
	@infra/setup.sh $(EXTRA)

data: ## fetch The Complete Journey into data/
	@infra/setup.sh spark
	@$(BIN)/python infra/data/complete_journey.py

bundle: ## write the Databricks job's tasks from the pipeline's graph
	@infra/setup.sh spark
	@$(BIN)/python infra/bundle.py

wheel: ## build dist/*.whl, the one that clusters run
	@infra/setup.sh spark
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

pack: ## build dist/clm-env-EXTRA.tar.gz for --archives: Python and all packages (EXTRA=spark: no torch; CUDA=1: for GPUs)
	@infra/setup.sh $(EXTRA)
	@$(BIN)/python infra/pack/pack.py $(EXTRA) $(if $(CUDA),--cuda)

requirements: ## compile the hashed pins again (needs uv; UPGRADE=1 takes newer releases)
	@command -v uv >/dev/null || { echo "requirements: uv is missing: pip install uv" >&2; exit 2; }
	$(COMPILE) pyproject.toml --extra dev --output-file requirements/dev.txt
	@# The others follow dev's pins, so that any of them fits into a .venv that holds another.
	for extra in spark train bench; do \
	    $(COMPILE) --constraint requirements/dev.txt pyproject.toml --extra $$extra --output-file requirements/$$extra.txt; done
	$(COMPILE) --constraint requirements/dev.txt requirements/build.in --output-file requirements/build.txt
	$(COMPILE) infra/horovod/tools.in --output-file infra/horovod/tools.txt
	$(COMPILE) infra/s3/requirements.in --output-file infra/s3/requirements.txt

demo: ## draw a synthetic shop of CUSTOMERS (2000) over DAYS (180) into data/demo_shop
	@infra/setup.sh spark
	@$(BIN)/clm demo --customers $(CUSTOMERS) --days $(DAYS) --out data/demo_shop

bench-small: ## time a new user's first commands: a log of 60 records, a query, 1,000 customers (BENCH="--repeat 3 --repeat-all 0")
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_small.py $(BENCH)

bench-demo: ## time the synthetic shop: records a second, memory (BENCH="--format jsonl")
	@infra/setup.sh train
	@$(BIN)/python tests/benchmarks/bench_demo.py $(BENCH)

bench-ingest: ## time ingestion next to DuckDB and Polars, for hours (BENCH="--events 2e6 --formats csv" is minutes)
	@infra/setup.sh bench
	@$(BIN)/python tests/benchmarks/bench_ingest.py $(BENCH)

bench-features: ## time features, a full refresh and a daily run, next to DuckDB (BENCH="--events 5e6" is minutes)
	@infra/setup.sh bench
	@$(BIN)/python tests/benchmarks/bench_features.py $(BENCH)

bench-items: ## time what recommenders read, a full refresh and a daily run, early and late (BENCH="--events 5e5" is minutes)
	@infra/setup.sh bench
	@$(BIN)/python tests/benchmarks/bench_items.py $(BENCH)

bench-vocabulary: ## lists over a million items: seconds and memory of each recommender (BENCH="--items 1e5" is minutes)
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_vocabulary.py $(BENCH)

bench-sessions: ## time cutting visits next to a plain window query and DuckDB
	@infra/setup.sh bench
	@$(BIN)/python tests/benchmarks/bench_sessions.py $(BENCH)

bench-evaluation: ## time deciles, metrics and intervals of 5 million customers next to plain windows
	@infra/setup.sh train
	@$(BIN)/python tests/benchmarks/bench_evaluation.py $(BENCH)

bench-stages: ## hold lifecycle stages against the synthetic shop's true drop-outs (BENCH="--customers 4000 --days 365")
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_stages.py $(BENCH)

bench-churn: ## hold churn against the synthetic shop's true probability of leaving (BENCH="--customers 4000 --days 365")
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_churn.py $(BENCH)

bench-telco: ## hold our classifiers against scikit-learn's on IBM Telco churn (BENCH="--file telco.csv"), or skip
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_telco.py $(BENCH)

bench-value: ## time laws of purchases next to lifetimes and pymc-marketing (BENCH="--customers 1e4 1e5" is minutes)
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_value.py $(BENCH)

bench-baskets: ## hold the ranker against Ta-Feng's last baskets, by the papers' metrics (BENCH="--folder tafeng"), or skip
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_baskets.py $(BENCH)

bench-next-item: ## hold the ranker against the next item of Retailrocket's sessions (BENCH="--folder sessions"), or skip
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_next_item.py $(BENCH)

bench-train: ## time training the transformer next to RecTools and RePlay, and by two ranks (BENCH="--sequences 5000")
	@infra/setup.sh train
	@$(BIN)/python tests/benchmarks/bench_train.py $(BENCH)

bench-beauty: ## the transformer on Amazon Beauty, leave-one-out, three seeds (BENCH="--seeds 1"), or skip
bench-movielens: ## the same on MovieLens 1M, for hours
bench-retailrocket: ## the same on Retailrocket's sessions: the item viewed next
bench-tafeng: ## the same on Ta-Feng: the items of the last basket (BENCH="--set repeat_memory=false")
bench-beauty bench-movielens bench-retailrocket bench-tafeng: bench-%:
	@infra/setup.sh train
	@$(BIN)/python tests/benchmarks/bench_sequences.py $* $(BENCH)

bench-lists: ## hold lists against the synthetic shop's true purchases to expect (BENCH="--customers 4000 --days 365")
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_lists.py $(BENCH)

bench-als: ## time every customer's list from factors next to MLlib and implicit (BENCH="--customers 10000" is minutes)
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_als.py $(BENCH)

bench-als-fit: ## time fitting ALS next to MLlib and implicit, with NDCG (BENCH="--lakehouse lakehouse --movielens ml1m")
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_als_fit.py $(BENCH)

bench-ranker: ## candidates that a core makes, describes and scores in a second (BENCH="--customers 500")
	@infra/setup.sh train
	@$(BIN)/python tests/benchmarks/bench_ranker.py $(BENCH)

bench-pages: ## hold lists of category and product pages against what was bought next, after `make run`
	@infra/setup.sh dev
	@$(BIN)/python tests/benchmarks/bench_pages.py $(BENCH)

soak-tests: ## the tests of many minutes: thin shops, stages day by day and on real logs, the shop's days, keys in event logs, Kafka, days side by side
	@infra/setup.sh dev
	@$(BIN)/python -m pytest -m soak

soak-ingest: ## kill ingestion 30 times on a two-worker cluster, and compare with an undisturbed run
	@infra/setup.sh train
	@$(BIN)/python tests/soak/soak_ingest.py

soak-cluster: ## pass every job through spark-submit on a cluster of bare machines, and compare with a local run
	@$(MAKE) --no-print-directory pack EXTRA=train
	@$(BIN)/python tests/soak/soak_cluster.py $(SOAK)

soak-hdfs: ## take a small shop through every job on a real HDFS, and compare its rows with a local run
	@infra/setup.sh train
	@$(BIN)/python tests/soak/soak_stores.py hdfs

soak-s3: ## the same on S3A, against a local S3 server (fetches the AWS SDK, 640 MB)
	@infra/setup.sh train
	@$(BIN)/python tests/soak/soak_stores.py s3

clean: ## remove what builds and tools left; data/, lakehouse/ and .venv stay
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find clm_spark jobs tests infra -name __pycache__ -prune -exec rm -rf {} +
