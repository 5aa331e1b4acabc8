test_nobody_in_particular() {
    run two_fer.sh
    assert_status 3
    assert_output "One for you, one for me."
}

test_a_friend() {
    run two_fer.sh Ada
    assert_status 0
}
