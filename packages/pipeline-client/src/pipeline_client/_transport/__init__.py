"""The one connection of a client, for threads and for the tasks of an event loop."""
