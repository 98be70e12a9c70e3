"""What a weights file is and where its tensors go: published formats recognised, each laid out over the base."""
