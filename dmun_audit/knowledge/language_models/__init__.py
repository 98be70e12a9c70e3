"""Language models behind one small protocol: chat completions over HTTP, transformers on this machine, a transcript replayed."""
