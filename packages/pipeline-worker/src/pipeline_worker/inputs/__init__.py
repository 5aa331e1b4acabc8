"""A job's input files: from the request, a folder of this host, or S3; counted, and in time."""
