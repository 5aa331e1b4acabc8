import unittest

from two_fer import two_fer


class TwoFerTest(unittest.TestCase):
    def test_nobody_in_particular(self):
        self.assertEqual(two_fer(), "One for you, one for me.")

    def test_a_friend(self):
        self.assertEqual(two_fer("Ada"), "One for Ada, one for me.")

    def test_a_friend_with_two_names(self):
        self.assertEqual(two_fer("Mary Ann"), "One for Mary Ann, one for me.")
