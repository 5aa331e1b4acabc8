"""What a run leaves: the tool's files, read and checked, and the report."""
