"""Runs llama.cpp's own server on a free port of loopback, prints its URL, and ends with its standard input.

A slot answers one question at a time; the slots share the context evenly.
"""

import argparse
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--context", type=int, default=65_536, help="tokens of all slots together")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--template", help="file of a chat template, for a model without one")
    arguments = parser.parse_args()
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = arguments.model
    parameters.n_parallel, parameters.n_ctx = arguments.slots, arguments.context
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = arguments.threads
    parameters.fit_params = False  # the context is the one that is asked for
    if arguments.template:
        with open(arguments.template, encoding="utf-8") as stream:
            parameters.chat_template = stream.read()
    server = xllamacpp.Server(parameters)
    print(f"LISTENING {server.listening_address}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
