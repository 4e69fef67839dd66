"""A training that is never left in peace, and what must hold of it afterwards."""
