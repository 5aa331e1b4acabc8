#!/bin/sh
# pass [MESSAGE] - leaves a valid result that says so.
printf '{"version": 1, "status": "pass", "message": "%s"}\n' "$*" >/mnt/exercism-iteration/results.json
