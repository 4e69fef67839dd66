"""What differences over a few seeds tell, with known error rates: no runs, no files."""
