"""The judge: what is in an image, said by a CLIP model that took no part in making it."""
