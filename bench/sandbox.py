"""A Lambda sandbox: one process, and the Runtime API that it asks for events.

Single-threaded and without a framework, so that it adds as little as possible to what is measured, and the
same to every runtime: Rust's, Python's and Node's
(https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
"""

import os
import select
import socket
import subprocess
import tempfile
import time

ARN = "arn:aws:lambda:us-east-1:123456789012:function:bench"


class Sandbox:
    """Starts `command` with `variables`. `invoke` hands it an event and returns the response."""

    def __init__(self, command, variables, handler="handler.handler", folder="."):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.buffers = {}
        self.waiting = None
        self.count = 0
        self.log = tempfile.TemporaryFile()
        api = "%s:%d" % self.listener.getsockname()
        own = {
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "LAMBDA_TASK_ROOT": str(folder),
            "_HANDLER": handler,
            "PATH": os.environ["PATH"],
            "HOME": "/tmp",
        }
        self.process = subprocess.Popen(
            command, env={**variables, **own}, cwd=folder, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL
        )

    def invoke(self, event, timeout=60):
        """Returns the response's body and the seconds from the event's first byte to the response's last."""
        until = time.monotonic() + timeout
        self.ready(until)
        self.count += 1
        request = f"00000000-0000-4000-8000-{self.count:012}"
        deadline = int((time.time() + timeout) * 1000)
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            f"Lambda-Runtime-Aws-Request-Id: {request}\r\nLambda-Runtime-Deadline-Ms: {deadline}\r\n"
            f"Lambda-Runtime-Invoked-Function-Arn: {ARN}\r\nContent-Length: {len(event)}\r\n\r\n"
        )
        connection, self.waiting = self.waiting, None
        start = time.perf_counter()
        connection.sendall(head.encode() + event)
        while True:
            for path, body in self._turn(until):
                seconds = time.perf_counter() - start
                if path.endswith("/response"):
                    return body, seconds
                raise RuntimeError(f"the function failed: {body.decode(errors='replace')}\n{self.logged()}")

    def ready(self, until=None):
        """Waits until the runtime asks for an event."""
        while self.waiting is None:
            self._turn(until or time.monotonic() + 60)

    def _turn(self, until):
        """Waits for one piece of traffic, and returns the outcomes of invocations in it."""
        left = until - time.monotonic()
        # Not select(), which knows no descriptor above 1,023.
        poll = select.poll()
        sockets = {each.fileno(): each for each in (self.listener, *self.buffers)}
        for descriptor in sockets:
            poll.register(descriptor, select.POLLIN)
        ready = [sockets[descriptor] for descriptor, _ in poll.poll(min(1, max(0, left)) * 1000)]
        if not ready:
            if self.process.poll() is not None:
                raise RuntimeError(f"the process ended with {self.process.returncode}\n{self.logged()}")
            if left <= 0:
                raise RuntimeError(f"no answer in time\n{self.logged()}")
        outcomes = []
        for connection in ready:
            if connection is self.listener:
                accepted, _ = self.listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.buffers[accepted] = b""
                continue
            data = connection.recv(1 << 20)
            if not data:
                del self.buffers[connection]
                connection.close()
                continue
            self.buffers[connection] += data
            while (request := self._request(connection)) is not None:
                outcomes += self._answer(connection, *request)
        return outcomes

    def _request(self, connection):
        """Takes one whole request from a connection's bytes: its path and its body."""
        head, separator, rest = self.buffers[connection].partition(b"\r\n\r\n")
        if not separator:
            return None
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(":", 1) for line in lines[1:])
        if "chunked" in headers.get("transfer-encoding", ""):
            body, rest = _chunks(rest)
            if body is None:
                return None
        else:
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return None
            body, rest = rest[:length], rest[length:]
        self.buffers[connection] = rest
        return lines[0].split(" ")[1], body

    def _answer(self, connection, path, body):
        if path.endswith("/invocation/next"):
            self.waiting = connection
        elif path.endswith("/extension/register"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: bench\r\nContent-Length: 2\r\n\r\n{}")
        elif path.endswith(("/response", "/error")):
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            return [(path, body)]
        # /extension/event/next stays unanswered until the sandbox ends, as on Lambda.
        return []

    def logged(self):
        """The last of what the process wrote."""
        self.log.seek(0)
        return self.log.read()[-3000:].decode(errors="replace")

    def cpu(self):
        """Seconds of CPU that the process has used so far."""
        return cpu(self.process.pid)

    def peak(self):
        """The most memory that the process has held, in MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        for connection in (self.listener, *self.buffers):
            connection.close()
        self.log.close()


def _chunks(rest):
    body = b""
    while True:
        size, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return None, b""
        length = int(size, 16)
        if len(rest) < length + 2:
            return None, b""
        body, rest = body + rest[:length], rest[length + 2 :]
        if length == 0:
            return body, rest


def cpu(process, reaped=False):
    """Seconds of CPU of a process, its ended threads' included; `reaped` adds its ended children's."""
    # Linux's clock of another process: clock_getcpuclockid(3).
    total = time.clock_gettime((~process << 3) | 2)
    if reaped:
        with open(f"/proc/{process}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total
