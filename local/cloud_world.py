"""What local/cloud.py stands on: databases, a local cloud, commands, and checks that say what they saw."""

import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time
import urllib.request

ROOT = pathlib.Path(__file__).parents[1]
WORK = ROOT / "target/cloud"
# ministack takes an access key of twelve digits for the account, and gives functions the same key.
ACCOUNT, SECRET = "123456789012", "of-no-use-outside-this-machine"
STARTED = time.monotonic()


def say(text):
    print(f"{time.monotonic() - STARTED:6.1f} s  {text}", flush=True)


def check(fact, text):
    if not fact:
        raise SystemExit(f"cloud: not so: {text}")
    say(f"ok: {text}")


def until(fact, text, seconds=60):
    """Waits for a fact, and checks it."""
    end = time.monotonic() + seconds
    while not (found := fact()) and time.monotonic() < end:
        time.sleep(0.3)
    check(found, text)
    return found


def free_port():
    """Below the ports that systems give to connections: nobody else takes it before the server does."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def process(name, command, ready, **options):
    """A program that runs until the end of the block, and its group with it."""
    with open(WORK / f"{name}.log", "w") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )
        try:
            until(lambda: ready() or child.poll() is not None, f"{name} is up")
            if child.poll() is not None:
                raise SystemExit(f"cloud: {name} ended: {(WORK / f'{name}.log').read_text()[-2000:]}")
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


@contextlib.contextmanager
def database(engine):
    """rds-local with an engine, which knows the key of the functions, and its variables."""
    keys = WORK / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"[default]\naws_access_key_id = {ACCOUNT}\naws_secret_access_key = {SECRET}\n")
    folder = WORK / engine
    command = [ROOT / "target/debug/rds-local", "serve", "--engine", engine, "--dir", folder, "--user-key-file", keys]
    with process(engine, command, (folder / "env.json").exists):
        yield json.loads((folder / "env.json").read_text())["Parameters"]


@contextlib.contextmanager
def cloud():
    """ministack on a loopback port."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    variables = {name: os.environ[name] for name in ["PATH", "HOME"] if name in os.environ}
    variables |= {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        # Listeners that nothing here uses.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_EXECUTOR": "local",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "TMPDIR": str(WORK / "tmp"),
    }
    (WORK / "tmp").mkdir()

    def ready():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{url}/_ministack/health", timeout=1).status == 200

    with process("ministack", [ROOT / "target/venv-cloud/bin/ministack"], ready, env=variables):
        os.environ.update(
            AWS_ENDPOINT_URL=url,
            AWS_ACCESS_KEY_ID=ACCOUNT,
            AWS_SECRET_ACCESS_KEY=SECRET,
            AWS_DEFAULT_REGION="us-east-1",
            AWS_REGION="us-east-1",
            SAM_CLI_TELEMETRY="0",
            SAM_CLI_POLL_DELAY="1",
        )
        yield


@contextlib.contextmanager
def packaged(files):
    """Roots of the databases as files of the package, as docs/deploy.md has it for roots that are not built in."""
    folder = ROOT / "certificates"
    folder.mkdir(exist_ok=True)
    try:
        for name, roots in files.items():
            (folder / name).write_text(roots)
        yield
    finally:
        for name in files:
            (folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def run(command, log, cwd=ROOT, **variables):
    with open(WORK / log, "w") as output:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **variables},
        )
    if done.returncode:
        raise SystemExit(f"cloud: {command[0]} failed: {(WORK / log).read_text()[-3000:]}")


def sam(*arguments, log, **variables):
    run([ROOT / "target/venv-sam/bin/sam", *arguments], log, **variables)
