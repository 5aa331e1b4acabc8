"""Registries of images: the interface, and a file for each kind behind it."""
