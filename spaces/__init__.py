"""What may vary: one frozen dataclass per task, one field per hyperparameter. Standard library only."""
