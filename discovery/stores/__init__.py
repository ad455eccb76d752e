"""Where files are kept: file systems and object stores, listed in memory that does not grow."""
