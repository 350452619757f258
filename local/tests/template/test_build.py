"""local/build.py: for which architecture a package is built, and that a stack of another one refuses it."""

import json
import os
import subprocess
import sys

import boto3
import pytest
from moto.server import ThreadedMotoServer

from templates import ROOT, build, path_of

THIS = os.uname().machine.replace("aarch64", "arm64")
[OTHER] = set(build.ARCHITECTURES) - {THIS}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A samconfig.toml of its own, and a cloud that refuses connections."""
    monkeypatch.setattr(build, "ROOT", tmp_path)
    monkeypatch.delenv("ARCH", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    def write(overrides):
        (tmp_path / "samconfig.toml").write_text(
            '[default.deploy.parameters]\nstack_name = "rds-iam-scheduled-query"\n' + overrides
            + '\n[event-query.deploy.parameters]\nstack_name = "rds-iam-event-query"\n'
        )

    write("")
    return write


def test_arch_of_the_command_line_comes_first(project, monkeypatch):
    project(f'parameter_overrides = ["Architecture={THIS}"]')
    monkeypatch.setenv("ARCH", OTHER)
    assert build.architecture("default") == (OTHER, "ARCH")


@pytest.mark.parametrize(
    "overrides",
    [f'["DatabaseName=a", "Architecture={OTHER}"]', f"'DatabaseName=\"a\" Architecture=\"{OTHER}\"'"],
    ids=["a list", "a text, as sam deploy --guided writes it"],
)
def test_then_samconfig_of_the_same_function(project, overrides):
    project(f"parameter_overrides = {overrides}")
    assert build.architecture("default") == (OTHER, "samconfig.toml")
    assert build.architecture("event-query") == (THIS, "this machine"), "another function's section does not count"


def test_then_the_deployed_stack(project, monkeypatch):
    server = ThreadedMotoServer(port=0)
    server.start()
    try:
        url = "http://%s:%d" % server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        assert build.architecture("default") == (THIS, "this machine"), "there is no stack"
        template = {
            "Parameters": {"Architecture": {"Type": "String"}},
            "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        }
        boto3.client("cloudformation").create_stack(
            StackName="rds-iam-scheduled-query",
            TemplateBody=json.dumps(template),
            Parameters=[{"ParameterKey": "Architecture", "ParameterValue": OTHER}],
        )
        assert build.architecture("default") == (OTHER, "the stack rds-iam-scheduled-query")
    finally:
        server.stop()


def test_last_this_machine_and_it_says_why(project, capsys):
    assert build.architecture("default") == (THIS, "this machine")
    assert "the stack was not asked for its architecture" in capsys.readouterr().err


def test_a_built_template_takes_its_own_architecture_alone(tmp_path):
    built = tmp_path / "template.yaml"
    built.write_text(path_of("scheduled-query").read_text())
    build.narrow(built, "x86_64")
    narrowed = build_parameters(built)["Architecture"]
    assert narrowed["AllowedValues"] == ["x86_64"] == [narrowed["Default"]]
    before = build_parameters(path_of("scheduled-query"))
    assert {n: p for n, p in build_parameters(built).items() if n != "Architecture"} == {
        n: p for n, p in before.items() if n != "Architecture"
    }


def build_parameters(path):
    from samcli.yamlhelper import yaml_parse

    return yaml_parse(path.read_text())["Parameters"]


@pytest.mark.parametrize("arguments, says", [(["no-such-function"], "there is no function"), ([], "local/build.py FUNCTION")])
def test_a_wrong_call_says_what_is_wrong(arguments, says):
    done = subprocess.run([sys.executable, ROOT / "local/build.py", *arguments], capture_output=True, text=True)
    assert done.returncode == 1 and says in done.stderr


def test_a_wrong_architecture_is_refused():
    done = subprocess.run(
        [sys.executable, ROOT / "local/build.py", "event-query"],
        capture_output=True, text=True, env={**os.environ, "ARCH": "sparc"},
    )
    assert done.returncode == 1 and "the architecture is arm64 or x86_64; ARCH says sparc" in done.stderr
