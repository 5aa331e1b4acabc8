"""The one router process: takes requests from clients, gives jobs to workers."""
