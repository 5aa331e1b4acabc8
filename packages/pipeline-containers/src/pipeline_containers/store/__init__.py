"""The images of this host: pulled once, each layer kept once, the unwanted collected."""
