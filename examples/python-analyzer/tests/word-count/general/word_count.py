def count_words(sentence, counts={}):
    words = sentence.split()
    for i in range(len(words)):
        try:
            counts[words[i]] += 1
        except:
            counts[words[i]] = 1
    return counts


def is_counted(word, counts):
    return (word in counts) == True
