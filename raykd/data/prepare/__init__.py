"""From text in any usual form to a prepared data set; pipeline.py is the way through."""
