import re as regex
from collections import Counter

WORD = regex.compile(r"[a-z]+('[a-z]+)?")


class Text:
    language: str

    def __init__(self, text: str) -> None:
        self.words = [found[0] for found in WORD.finditer(text.lower())]

    def count(self) -> Counter:
        return Counter(self.words)


def count_words(sentence):
    match sentence:
        case "":
            return {}
        case other:
            return Text(text=other).count()
