"""Who may see what, and how it is scored: splits that cannot leak, metrics, intervals."""
