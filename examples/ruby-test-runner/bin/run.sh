#!/bin/sh
# run.sh SLUG INPUT_DIR/ OUTPUT_DIR/ - runs the exercise's Minitest file, writes OUTPUT_DIR/results.json.
set -eu
[ $# -eq 3 ] || { echo "usage: run.sh SLUG INPUT_DIR/ OUTPUT_DIR/" >&2; exit 2; }

# Without RubyGems it starts in 10 ms; only the student's code, in its own process, gets them.
exec ruby --disable-gems "$(dirname "$0")/../lib/runner.rb" "$@"
