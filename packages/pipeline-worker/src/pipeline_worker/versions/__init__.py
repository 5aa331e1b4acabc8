"""The versions that this worker is to have ready: what is wanted, pulled, checked and kept."""
