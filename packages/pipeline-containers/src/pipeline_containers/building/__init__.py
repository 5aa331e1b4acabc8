"""From a git reference to a published image."""
