"""What was seen: feature stores on disk and the extraction that fills them."""
