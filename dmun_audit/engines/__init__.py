"""Where images are rendered: in this process, or by renderers on a Ray cluster."""
