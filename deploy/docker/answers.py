"""Health check of a container: `answers.py PORT PATH` exits 0 when a GET on this machine is answered with 200.

PORT is a number, or the name of a variable that holds it. It stands outside the packages, because both images use it
and starting it must cost next to nothing.
"""

from __future__ import annotations

import http.client
import os
import sys

WITHIN_S = 4


def problem(port: str, path: str) -> str:
    """Why the answer is not 200; empty when it is."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get(port, port)), timeout=WITHIN_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(200).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no answer: {error or type(error).__name__}"
    finally:
        connection.close()
    return "" if answer.status == 200 else f"{answer.status} {body}"


if __name__ == "__main__":
    sys.exit(problem(sys.argv[1], sys.argv[2]) or 0)
