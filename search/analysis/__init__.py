"""Questions about searches: what won, what a search will cost, whether a winner holds."""
