"""How well: what a detector keeps on generators it never saw, with intervals and nulls."""
