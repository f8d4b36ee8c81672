"""Generated data sets: drawn faces and sentence pairs."""
