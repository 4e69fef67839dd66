"""What each command does, a module each: ``run`` takes the arguments, and the file they name."""
