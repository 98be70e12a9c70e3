"""Language models over HTTP: requests, streams of answers, and what servers say when they refuse."""
