def two_fer(name="you"):
    print("name:", name)
    return "One for you, one for me."
