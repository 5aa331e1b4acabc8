test_nobody_in_particular() {
    run two_fer.sh
    assert_output "One for you, one for me."
}

test_a_friend() {
    run two_fer.sh Ada
    assert_output "One for Ada, one for me."
}

test_a_friend_with_two_names() {
    run two_fer.sh "Mary Ann"
    assert_output "One for Mary Ann, one for me."
}
