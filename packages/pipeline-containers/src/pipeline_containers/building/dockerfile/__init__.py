"""A stranger's Dockerfile: read, checked, and put in the terms of the builder at hand. No I/O."""
