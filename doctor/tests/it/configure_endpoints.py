# Proxies in ministack, which has endpoints of theirs. `client` makes boto3's clients of it.
ec2, rds = client('ec2'), client('rds')


def network(cidr):
    vpc = ec2.create_vpc(CidrBlock=cidr + '.0.0/16')['Vpc']['VpcId']
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f'{cidr}.{index}.0/24', AvailabilityZone=zone)['Subnet']['SubnetId']
        for index, zone in enumerate(['us-east-1a', 'us-east-1b'])
    ]
    group = ec2.create_security_group(GroupName='proxy', Description='proxy', VpcId=vpc)['GroupId']
    return vpc, subnets, group


def proxy(name):
    auth = dict(AuthScheme='SECRETS', SecretArn='arn:aws:secretsmanager:us-east-1:123456789012:secret:s', IAMAuth='REQUIRED')
    return rds.create_db_proxy(
        DBProxyName=name, EngineFamily='POSTGRESQL', VpcSubnetIds=subnets, VpcSecurityGroupIds=[group],
        RoleArn='arn:aws:iam::123456789012:role/proxy', Auth=[auth])['DBProxy']


def endpoint(proxy, name, role):
    return rds.create_db_proxy_endpoint(
        DBProxyName=proxy, DBProxyEndpointName=name, VpcSubnetIds=other_subnets, VpcSecurityGroupIds=[other_group],
        TargetRole=role)['DBProxyEndpoint']['Endpoint']


vpc, subnets, group = network('10.1')
other, other_subnets, other_group = network('10.2')
front = proxy('front')
proxy('many')
endpoint('front', 'front-rw', 'READ_WRITE')
reader = endpoint('front', 'front-ro', 'READ_ONLY')
several = [endpoint('many', name, 'READ_ONLY') for name in ('many-1', 'many-2')]
proxy('none')

print(json.dumps(dict(
    host=front['Endpoint'], id=front['DBProxyArn'].split(':')[-1], vpc=vpc, reader=reader, several=', '.join(several),
    other=other, other_subnets=','.join(other_subnets), other_group=other_group, key='123456789012', secret='unused',
)))
