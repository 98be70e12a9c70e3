"""The kinds of metric that `--metric` takes, one file each. `measures.references` lists them."""
