def two_fer(name="you"):
    return greetings[name]
