"""What to keep: head ranking, head selection, coordinate removal, and the nulls that question them."""
