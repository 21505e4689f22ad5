"""What is known of a search: plan, ledger, and what follows from it.

Beside it only the pages of `search.analysis` are written below `runs/`.
"""
