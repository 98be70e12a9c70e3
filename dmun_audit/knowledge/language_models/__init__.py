"""Language models behind one protocol: chat completions over HTTP, transformers on this machine, extensions, transcripts."""
