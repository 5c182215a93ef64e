"""For people: figures, tables and the words that go with them."""
