"""Making, proving and applying a TakeIndex: which parent row belongs to which local row."""
