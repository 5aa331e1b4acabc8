from collections import Counter


def count_words(sentence):
    return Counter(word.lower() for word in sentence.split())
