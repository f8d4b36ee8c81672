"""Command lines above the recipes and the comparison: the list of all commands, and commands that need both."""
