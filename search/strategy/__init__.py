"""What to try next and what to stop. Knows no Ray."""
