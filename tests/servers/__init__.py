"""Real servers for tests, and a proxy that makes them fail as networks and clouds do."""
