"""Weights files as they lie on the disk: headers, pickles and their contents, read without trusting them."""
