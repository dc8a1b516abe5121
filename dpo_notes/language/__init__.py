"""Everything that works with a Transformer and a tokenizer."""
