import unittest

from two_fer import for_all, two_fer


class TwoFerTest(unittest.TestCase):
    # task_id: 1
    def test_shares_with_a_friend(self):
        self.assertEqual(two_fer("Ada"), "One for Ada, one for me.")

    def test_shares_with_all_friends(self):
        # task_id: 2
        friends = ["Ada", "Zoë"]

        for friend in friends:
            with self.subTest(friend):
                self.assertIn(f"One for {friend}, one for me.", for_all(friends))

    def test_shares_with_nobody(self): self.assertEqual(for_all([]), [])
