"""Files anywhere: reached, whole or not there, written by one at a time."""
