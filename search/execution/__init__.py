"""Ray: the Tune adapter of the trial contract, resources, and a search from its plan to its result."""
