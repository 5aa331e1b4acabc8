"""What all of the package stands on: commands, files, locks and system calls of Linux."""
