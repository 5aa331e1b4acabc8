"""One run of a tool in a container: set up, watched, accounted for, cleared away."""
