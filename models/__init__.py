"""Plain torch modules. They take keyword arguments, never a configuration, and know nothing of data, search or files."""
