ln -sf /dev/null results.json
printf '\xff\x00\e[31m "quoted" \\ ' >&2
[ "${1:-}" != Ada ] || printf 'x%.0s' {1..600} >&2
sleep 5 &
printf '"One for %s,\n' "${1:-you}"
exit 3
