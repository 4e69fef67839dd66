"""What a sweep found: from its ledger to a summary, tables, a terminal and a page. No Ray."""
