"""Everything that knows a Transformer and a tokenizer."""
