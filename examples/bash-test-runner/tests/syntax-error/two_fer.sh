if [ "$1" ]; then
    echo "One for $1, one for me."
