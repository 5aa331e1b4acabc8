"""A git reference becomes a folder of files: commits, submodules, LFS objects, and their bounds."""
