"""What probes are made from: the networks of a model, the store of finds, the bench that gives both."""
