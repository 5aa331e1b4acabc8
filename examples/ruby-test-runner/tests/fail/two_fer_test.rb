require "minitest/autorun"
require_relative "two_fer"

class TwoFerTest < Minitest::Test
  def test_nobody_in_particular
    assert_equal "One for you, one for me.", TwoFer.two_fer
  end

  def test_a_friend
    skip
    assert_equal "One for Ada, one for me.", TwoFer.two_fer("Ada")
  end

  def test_another_friend
    skip
    assert_equal "One for Zoë, one for me.", TwoFer.two_fer("Zoë")
  end
end
