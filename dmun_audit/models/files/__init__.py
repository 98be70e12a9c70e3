"""Weights files on the disk: headers, pickles and contents, read without trusting them."""
