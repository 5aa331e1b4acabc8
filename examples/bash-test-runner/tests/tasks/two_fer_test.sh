# task_id: 1
test_nobody_in_particular() {
    run two_fer.sh
    assert_output "One for you, one for me."
}

test_a_friend() {
    # task_id: 2
    run two_fer.sh Ada

    if [ "$status" -ne 0 ]; then
        fail "Ada gets nothing."
    fi
    assert_output "One for Ada, one for me."
}

test_another_friend() {
    run two_fer.sh Zoë
    assert_output "One for Zoë, one for me."
}
