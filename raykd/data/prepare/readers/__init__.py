"""What reads rows: one module for each format, by explicit types, and one for the demo corpora."""
