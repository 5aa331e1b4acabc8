#!/bin/sh
# run.sh SLUG INPUT_DIR/ OUTPUT_DIR/ - runs the exercise's unittest file, writes OUTPUT_DIR/results.json.
set -eu
[ $# -eq 3 ] || { echo "usage: run.sh SLUG INPUT_DIR/ OUTPUT_DIR/" >&2; exit 2; }

# Nothing of the environment or of the solution is imported by the tool.
exec python3 -s -E "$(dirname "$0")/../lib/runner.py" "$@"
