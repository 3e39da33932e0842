#!/usr/bin/env bash
# Start a real standalone cluster on this machine: a master and WORKERS workers, each with CORES cores and MEMORY.
#   infra/cluster/start.sh FOLDER      logs and process ids go to FOLDER; prints the URL of the master
# SPARK_HOME is the Spark it runs, PYTHON the Python of its executors; unless set, both are those of .venv.
# Stop it with infra/cluster/stop.sh FOLDER.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=${1:?"usage: infra/cluster/start.sh FOLDER"}
workers=${WORKERS:-2} cores=${CORES:-1} memory=${MEMORY:-2g} port=${PORT:-7078}
python=${PYTHON:-$PWD/.venv/bin/python}
SPARK_HOME=${SPARK_HOME:-$("$python" -c 'import pyspark, os; print(os.path.dirname(pyspark.__file__))')}
export SPARK_HOME SPARK_WORKER_DIR="$folder/work" SPARK_NO_DAEMONIZE=1 PYSPARK_PYTHON="$python"
mkdir -p "$folder"

launch() { # NAME CLASS ARGUMENTS...: in a process group of its own
    local name=$1
    shift
    setsid "$SPARK_HOME/bin/spark-class" "$@" >>"$folder/$name.log" 2>&1 &
    echo $! >"$folder/$name.pid"
}

if [[ ${ONLY_WORKER:-} ]]; then # bring one back after it was killed
    launch "worker$ONLY_WORKER" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --webui-port 0 --cores "$cores" --memory "$memory" "spark://127.0.0.1:$port"
    exit
fi
launch master org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$port" --webui-port 0
for _ in $(seq 60); do
    grep -q "I have been elected leader" "$folder/master.log" && break
    sleep 1
done
for number in $(seq "$workers"); do
    launch "worker$number" org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --webui-port 0 \
        --cores "$cores" --memory "$memory" "spark://127.0.0.1:$port"
done
for _ in $(seq 60); do
    (($(grep -c "Registering worker" "$folder/master.log") >= workers)) && break
    sleep 1
done
echo "spark://127.0.0.1:$port"
