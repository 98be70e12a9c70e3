"""A real S3 server on this machine, for stores in object storage."""

import logging
import os
from contextlib import contextmanager


@contextmanager
def s3_server(bucket):
    """A server with one bucket. Gives the environment in which programs find it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request otherwise
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        boto3.client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"], **keys).create_bucket(Bucket=bucket)
        yield environment
    finally:
        server.stop()


def another_machine(folder):
    """The environment of a machine whose cache folder is `folder`."""
    return os.environ | {"XDG_CACHE_HOME": str(folder)}
