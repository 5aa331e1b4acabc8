def two_fer(name):
    return "One for %s, one for me." % name
