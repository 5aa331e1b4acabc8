"""Keys at the edges: the file of them, who connects with which, and the command that changes it."""
