"""The gated task: Coppola et al. 2020, a multi-task network whose gates show what tasks share. `task` is what is called."""
