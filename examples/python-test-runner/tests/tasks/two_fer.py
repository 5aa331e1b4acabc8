def two_fer(name):
    return f"One for {name}, one for me."


def for_all(names):
    return [two_fer(name) for name in names]
