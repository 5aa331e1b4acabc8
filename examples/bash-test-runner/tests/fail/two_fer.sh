echo "name: ${1:-}" >&2
echo "One for you, one for me."
