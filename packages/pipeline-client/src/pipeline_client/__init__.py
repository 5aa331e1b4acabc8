"""What another service installs to talk to a pipeline router."""
