# What a test function is written with. $tmp is bin/run.sh's.
# shellcheck shell=bash disable=SC2154

# run SCRIPT [ARGUMENT...] - runs the solution; sets $output, without trailing newlines, and $status.
run() {
    bash "$@" >"$tmp/stdout" </dev/null
    status=$?
    IFS= read -r -N 100000 output <"$tmp/stdout"
    while [[ $output == *$'\n' ]]; do output=${output%$'\n'}; done
}

assert_output() {
    [ "$output" = "$1" ] || fail "Expected: $1"$'\n'"  Actual: $output"
}

assert_status() {
    [ "$status" -eq "$1" ] || fail "Expected exit status $1, got $status."
}

# What is printed on stdout here is the message that the student sees.
fail() {
    printf '%s\n' "$1"
    exit 1
}
