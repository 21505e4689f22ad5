"""Problems with known answers and the searchers that ours are held against, for simulated time."""
