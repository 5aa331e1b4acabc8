"""The commands, one noun a module: each calls the client, and prints what a view says."""
