"""Tensors in, tensors out: no model, no tokenizer, no config."""
