"""What an image, a pair of images or two sets of images measure beside what the judge sees in them: reported, never deciding alone."""
