"""Measures of images, of pairs and of sets of images, reported beside the judge's scores. None decides a claim alone."""
