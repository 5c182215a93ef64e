"""Who looks: encoders, the hooks that record their heads, and the exact decomposition of their embeddings."""
