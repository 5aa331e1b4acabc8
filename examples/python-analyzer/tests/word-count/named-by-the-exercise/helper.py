def unused(things=[]):
    return things
