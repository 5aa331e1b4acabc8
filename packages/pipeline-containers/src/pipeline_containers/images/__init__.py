"""Images: where they are kept, how they come to this host, what they are once here."""
