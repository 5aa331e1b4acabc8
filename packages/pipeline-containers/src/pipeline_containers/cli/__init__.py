"""The command `pipeline-containers`: a file for each topic."""
