"""What a sweep would do, found out without starting it; and what is against it."""
