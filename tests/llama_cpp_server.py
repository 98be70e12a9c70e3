"""Runs llama.cpp's own server on a free port of loopback, writes its URL into a file, and ends with its standard input.

A slot answers one question at a time; the slots share the context evenly.
"""

import argparse
import os
import sys


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("address", help="the file for the URL: the server's threads write into its output at any time")
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
    with open(f"{arguments.address}.part", "w", encoding="utf-8") as stream:
        stream.write(server.listening_address)
    os.replace(f"{arguments.address}.part", arguments.address)
    sys.stdin.read()


if __name__ == "__main__":
    main()
