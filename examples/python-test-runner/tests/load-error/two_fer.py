import greetings


def two_fer(name="you"):
    return greetings.FOR[name]
