"""The launcher of our own: an OCI configuration, a plan of it, and what carries that out."""
