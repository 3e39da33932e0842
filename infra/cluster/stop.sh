#!/usr/bin/env bash
# Stop the cluster that infra/cluster/start.sh FOLDER started.
set -euo pipefail
folder=${1:?"usage: infra/cluster/stop.sh FOLDER"}
for file in "$folder"/*.pid; do
    kill -- "-$(cat "$file")" 2>/dev/null || true
    rm -f "$file"
done
