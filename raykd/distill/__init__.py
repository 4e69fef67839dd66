"""The algorithm: torch only, no Ray, no files."""
