import os


def two_fer(name="you"):
    print("so far so good")
    os._exit(3)
