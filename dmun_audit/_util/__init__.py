"""What every room may use: hashing and seeds, errors, a CPU torchvision."""
