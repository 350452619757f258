"""The stack of `make cloud` whose section of samconfig.toml `rds-doctor configure` wrote.

moto's RDS and EC2 describe the database, which is rds-local's. `sam validate` and `sam deploy` read what was written.
"""

import contextlib
import json
import logging
import shutil
from unittest import mock

import boto3
from moto.rds.models import DBInstance
from moto.server import ThreadedMotoServer

from cloud_world import ROOT, WORK, check, run, sam

ENVIRONMENT = "configured"
STACK = f"rds-iam-scheduled-query-{ENVIRONMENT}"
FOLDER = WORK / ENVIRONMENT


@contextlib.contextmanager
def moto(host):
    """The URL of moto's services. The endpoint of its instances is rds-local's, which has the certificate for it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with mock.patch.object(DBInstance, "address", host):
        yield "http://%s:%d" % server.get_host_and_port()
    server.stop()


def make_database(url, variables):
    """An instance in two private subnets, with IAM authentication: what RDS would say of rds-local's database."""
    ec2, rds = (boto3.client(service, endpoint_url=url) for service in ("ec2", "rds"))
    vpc = ec2.create_vpc(CidrBlock="10.43.0.0/24")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.43.0.{start}/26", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for start, zone in ((0, "us-east-1a"), (64, "us-east-1b"))
    ]
    rds.create_db_subnet_group(DBSubnetGroupName="private", DBSubnetGroupDescription="private", SubnetIds=subnets)
    rds.create_db_instance(
        DBInstanceIdentifier="mydb", Engine="postgres", DBInstanceClass="db.t3.micro", AllocatedStorage=20,
        MasterUsername="postgres", MasterUserPassword="of-no-use", DBName=variables["PGDATABASE"],
        Port=int(variables["PGPORT"]), DBSubnetGroupName="private", EnableIAMDatabaseAuthentication=True,
    )
    return subnets


def configure(variables, security_group):
    """Runs configure in a folder of its own, and returns the samconfig.toml that it wrote there."""
    FOLDER.mkdir()
    file = FOLDER / "samconfig.toml"
    shutil.copy(ROOT / "template.yaml", FOLDER)
    # ministack makes no rule of a security group, so a person has chosen one. It stays.
    file.write_text(
        (ROOT / "samconfig.toml").read_text()
        + f'\n[{ENVIRONMENT}.deploy.parameters]\nstack_name = "{STACK}"\nresolve_s3 = true\ncapabilities = "CAPABILITY_IAM"\n'
        + f'parameter_overrides = ["SecurityGroupId={security_group}"]\n'
    )
    with moto(variables["PGHOST"]) as url:
        subnets = make_database(url, variables)
        run(
            [ROOT / "target/debug/rds-doctor", "configure", "mydb", "--config-env", ENVIRONMENT],
            log="configure.log", cwd=FOLDER, AWS_ENDPOINT_URL_RDS=url, AWS_ENDPOINT_URL_EC2=url,
        )
    said = (WORK / "configure.log").read_text()
    check("IAM authentication is on." in said and "Wrote samconfig.toml: 7 parameters" in said, "rds-doctor configure wrote samconfig.toml")
    check(",".join(subnets) in file.read_text(), "with the subnets of the database")
    return file


def deploy(variables, security_group):
    """Deploys with nothing but the file, and returns the outputs."""
    file = configure(variables, security_group)
    of_the_file = ["--config-file", file, "--config-env", ENVIRONMENT]
    sam("validate", "--lint", *of_the_file, "--template-file", FOLDER / "template.yaml", log="validate-configured.log")
    sam(
        "deploy", *of_the_file, "--template-file", WORK / "scheduled-query/template.yaml", "--no-confirm-changeset",
        "--no-progressbar", log="deploy-configured.log",
    )
    stack = boto3.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
    check(stack["StackStatus"] == "CREATE_COMPLETE", f"sam deploy made {STACK} of what configure wrote")
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def try_it(outputs):
    """The function logs in with what RDS said of the database."""
    answer = boto3.client("lambda").invoke(FunctionName=outputs["FunctionName"], Payload='{"query": "connection"}')
    answer = json.loads(answer["Payload"].read())
    check(answer.get("row", {}).get("user") == "iam_ro_user", f"{STACK} logs in: {answer}")
