"""A tool over many solutions: which there are, which are done, and what two versions differ in."""
