"""The questions of a study: which arms they are about, and what the results answer. No Ray."""
