"""From a git reference to an image, a root file system and a running container."""
