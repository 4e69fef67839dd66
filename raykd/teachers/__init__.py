"""From a batch to what a teacher says about its scored positions."""
