"""What a run would do, need and cost, found out without starting it. No Ray."""
