#!/bin/sh
# run.sh SLUG INPUT_DIR/ OUTPUT_DIR/ - executes the program that came as the solution.
cd "$2" && exec sh ./program "$@"
