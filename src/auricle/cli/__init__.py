"""The command line: a file for commands of one kind, no logic."""
