"""The kit that every lesson uses."""
