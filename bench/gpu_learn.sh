#!/usr/bin/env bash
# The campaign `learn_gpu` on a machine with a GPU: a hundred iterations, then its curves as one page.
# Needs what `pip install envloom[gpu]` installs. ITERATIONS=10 for fewer; started again it goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-.venv/bin/python}"
if ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
  echo "gpu_learn: torch finds no GPU here; \`make learn\` is for machines without one" >&2
  exit 1
fi
"$python" -m dagster_project.cli train learn_gpu --total "${ITERATIONS:-100}"
"$python" -m dagster_project.cli report learn_gpu
