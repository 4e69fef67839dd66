"""One reader for each format: rows of a file as Arrow tables of explicit types, never guessed."""
