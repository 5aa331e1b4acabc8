#!/bin/sh
# run.sh SLUG INPUT_DIR/ OUTPUT_DIR/ - compiles the exercise, runs its test, writes OUTPUT_DIR/results.json.
#
# The commands are files beside this one. What they print is shown to the student, as text that JSON can have.
here=$(cd "${0%/*}" && pwd)
cd "$2" || exit

quoted() {
    head -c 20000 "$1" | tr -cd '\n\t -~' | sed 's/\\/\\\\/g; s/"/\\"/g; s/\t/ /g' | awk '{ printf "%s\\n", $0 }'
}

# write STATUS FILE
write() {
    printf '{"version": 1, "status": "%s", "message": "%s"}\n' "$1" "$(quoted "$2")" >"$3/results.json"
    exit 0
}

sh -e "$here/compile" >/tmp/compiled 2>&1 </dev/null || write error /tmp/compiled "$3"
sh -e "$here/test" >/tmp/tested 2>&1 </dev/null || write fail /tmp/tested "$3"
write pass /tmp/tested "$3"
