"""The project in virtual machines with stock distributions: `./dev vm`."""
