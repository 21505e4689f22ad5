"""What is known of a search: plan, ledger, and what follows from it. Nothing else writes below `runs/`."""
