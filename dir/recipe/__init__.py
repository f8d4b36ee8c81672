"""The training recipes behind scripts/: config -> data, model, method -> a run folder with its results."""
