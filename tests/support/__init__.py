"""What tests and the demo share: real processes, bare sockets, and a look at what is left."""
