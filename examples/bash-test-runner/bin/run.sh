#!/bin/bash
# run.sh SLUG INPUT_DIR/ OUTPUT_DIR/ - runs the exercise's *_test.sh, writes OUTPUT_DIR/results.json.
#
# A test is a function `test_...() {` of that file, ended by a `}` in the first column; it runs the solution and
# compares, with what lib/assertions.bash has. What the solution prints on stderr is shown to the student.
set -u
[ $# -eq 3 ] || { echo "usage: run.sh SLUG INPUT_DIR/ OUTPUT_DIR/" >&2; exit 2; }

lib=$(cd "${BASH_SOURCE[0]%/*}/../lib" && pwd)
input=$(cd "$2" && pwd)
results=$(cd "$3" && pwd)/results.json
test_file=$input/${1//-/_}_test.sh
[ -e "$test_file" ] || test_file=$(compgen -G "$input/*_test.sh" | head -n 1)

# write STATUS MESSAGE [NAME CODE STATUS MESSAGE OUTPUT TASK]...
# Aside and renamed, so that there is never half a file, and never one written through the solution's symlink.
write() {
    jq -n -f "$lib/results.jq" --args -- "$@" >"$results.$$"
    mv "$results.$$" "$results"
    exit 0
}

# Sets names, and codes and tasks by name. A task is named by a comment: `# task_id: 2`.
read_tests() {
    local line name='' task=''
    while IFS= read -r line || [ "$line" ]; do
        if [[ $line =~ ^[[:space:]]*'# task_id: '([0-9]+)$ ]]; then
            task=${BASH_REMATCH[1]}
        elif [[ $line =~ ^(test_[a-zA-Z0-9_]+)' () {'$|^(test_[a-zA-Z0-9_]+)'() {'$ ]]; then
            name=${BASH_REMATCH[1]}${BASH_REMATCH[2]}
            names+=("$name")
            codes[$name]=''
        elif [ "$name" ] && [ "$line" = "}" ]; then
            tasks[$name]=$task
            name='' task=''
        elif [ "$name" ]; then
            codes[$name]+=${line#    }$'\n'
        fi
    done <"$test_file"
}

# In files, not pipes: nobody waits for a grandchild that keeps them open.
run_test() {
    (
        cd "$input" || exit
        # shellcheck source=../lib/assertions.bash
        . "$lib/assertions.bash"
        # shellcheck disable=SC1090
        . "$test_file"
        "$1"
    ) >"$tmp/message" 2>"$tmp/output" </dev/null
}

# One command line carries all messages to jq, and the platform refuses result files beyond 500 kB.
capped() { IFS= read -r -N 4000 "$1" <"$2"; }

[ -e "$test_file" ] || write error "No test file: a file named *_test.sh is needed."
for file in "$input"/*.sh; do
    errors=$(bash -n "$file" 2>&1) || write error "${errors//"$input/"/}"
done

names=()
declare -A codes tasks
read_tests
[ ${#names[@]} -gt 0 ] || write error "${test_file##*/} holds no tests."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
overall=pass
fields=()
for test in "${names[@]}"; do
    run_test "$test"
    ended=$?
    capped message "$tmp/message"
    case $ended in
        0) status=pass ;;
        1) status=fail ;;
        *) status=error message="The test ended with status $ended." ;;
    esac
    [ $status = pass ] || overall=fail
    capped printed "$tmp/output"
    fields+=("$test" "${codes[$test]}" "$status" "${message//"$input/"/}" "${printed//"$input/"/}" "${tasks[$test]}")
done
write $overall "" "${fields[@]}"
