"""The worker daemon of every flavour: takes jobs from the router, runs them in containers."""
