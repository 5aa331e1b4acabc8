#!/bin/bash
# Have a solution tested: ask.sh ADDRESS TRACK EXERCISE VERSION FILE... Needs jq; no ZeroMQ: its own
# protocol, ZMTP 3.0, is a greeting, a READY each way, and frames: a byte of flags, a size, a body.
# For a router without keys: bash has no CURVE.
set -euo pipefail

header() { # of the next frame: its flags (1: more follow, 2: long, 4: a command) and its size
    read -r flags size < <(head -c 2 <&3 | od -An -tu1)
    if ((flags & 2)); then size=$((16#$(head -c 7 <&3 | od -An -tx1 | tr -d ' \n'))); fi
}

exchange() { # one connection: the request from stdin, its reply to stdout
    local LC_ALL=C request flags size # C: ${#request} is bytes
    request=$(cat)
    exec 3<>"/dev/tcp/$host/$port"
    { printf '\xff\0\0\0\0\0\0\0\0\x7f\3\0NULL' && head -c 48 /dev/zero; } >&3 # version 3.0, no keys
    head -c 64 <&3 >/dev/null
    printf '\4\x19\5READY\x0bSocket-Type\0\0\0\3REQ' >&3
    header
    head -c "$size" <&3 >/dev/null
    printf '\1\0\2%b%s' "$(printf %016x ${#request} | sed 's/../\\x&/g')" "$request" >&3
    header
    while ((flags & 5)); do # the empty frame, or a command: ZeroMQ's heartbeat
        head -c "$size" <&3 >/dev/null
        header
    done
    head -c "$size" <&3
}

ask() { # the same bytes again on a new connection, for longer than the router's 60 s to its 504
    for _ in {1..14}; do
        timeout 5 bash -ec exchange <<<"$1" | jq -ce . && return # whole, or not at all
        echo 'no answer yet, asking again' >&2
        sleep 1 # a router that is not there refuses at once
    done
    echo 'no answer: is the router there?' >&2
    exit 1
}

content() { # of a file, as JSON: text, or base64 where jq would have to replace something
    if [ "$(jq -Rsj . "$1" | sha256sum)" = "$(sha256sum <"$1")" ]; then
        jq -Rs . "$1"
    else
        base64 -w0 "$1" | jq -R '{base64: .}'
    fi
}

IFS=: read -r _ host port <<<"$1"
export host=${host#//} port
export -f header exchange
ask '{"action": "ping"}' | jq -r '"router " + .response.version' >&2
reply=$(ask "$(for file in "${@:5}"; do
    content "$file" | jq --arg name "${file##*/}" '{($name): .}'
done | jq -cs --arg id "$(cat /proc/sys/kernel/random/uuid)" --arg track_slug "$2" \
    --arg exercise_slug "$3" --arg container_version "$4" \
    '{action: "test_solution", files: add} + $ARGS.named')")
[ "$(jq .status.code <<<"$reply")" -eq 200 ] || {
    jq -c .status <<<"$reply" >&2 # as JSON: a tool's words in it stay on their line
    exit 1
}
jq -c .response <<<"$reply"
