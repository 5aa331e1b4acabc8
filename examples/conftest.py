"""Of the tests here, those of `tests/`: what students wrote is for the tools to run."""

collect_ignore_glob = ["solutions/*", "*-*/*"]
