"""Makes images: a seed for each image, fixed batch slots, each prompt encoded once, no image rendered twice."""
