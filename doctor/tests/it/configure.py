# Databases in moto, each for one case. `client` makes boto3's clients of it.
ec2, rds, iam = client('ec2'), client('rds'), client('iam')


def network(cidr, subnets):
    """A VPC whose main route table has no way out; public subnets have a table of their own."""
    vpc = ec2.create_vpc(CidrBlock=cidr + '.0.0/16')['Vpc']['VpcId']
    gateway = ec2.create_internet_gateway()['InternetGateway']['InternetGatewayId']
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc)['RouteTable']['RouteTableId']
    ec2.create_route(RouteTableId=table, DestinationCidrBlock='0.0.0.0/0', GatewayId=gateway)
    made = []
    for index, (zone, public) in enumerate(subnets):
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f'{cidr}.{index}.0/24', AvailabilityZone='us-east-1' + zone)
        made.append(subnet['Subnet']['SubnetId'])
        if public:
            ec2.associate_route_table(RouteTableId=table, SubnetId=made[-1])
    return vpc, made


def subnet_group(name, subnets):
    rds.create_db_subnet_group(DBSubnetGroupName=name, DBSubnetGroupDescription=name, SubnetIds=subnets)


def instance(name, engine='postgres', **more):
    of_server = {} if 'DBClusterIdentifier' in more else dict(AllocatedStorage=20, MasterUsername='postgres', MasterUserPassword='secret99')
    options = dict(DBInstanceClass='db.t3.micro', CACertificateIdentifier='rds-ca-rsa2048-g1', DBSubnetGroupName='private')
    return rds.create_db_instance(DBInstanceIdentifier=name, Engine=engine, **of_server, **(options | more))['DBInstance']


def cluster(name, engine, port, **more):
    return rds.create_db_cluster(
        DBClusterIdentifier=name, Engine=engine, Port=port, MasterUsername='postgres', MasterUserPassword='secret99',
        DBSubnetGroupName='private', VpcSecurityGroupIds=[group], **more)['DBCluster']


vpc, (first, second, outside) = network('10.1', [('a', False), ('b', False), ('a', True)])
alone, alone_subnets = network('10.2', [('a', True), ('b', True)])
subnet_group('private', [first, second, outside])
subnet_group('public', [outside])
subnet_group('alone', alone_subnets)
other, group = (ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)['GroupId'] for name in ('other', 'database'))
ec2.authorize_security_group_ingress(GroupId=other, IpProtocol='tcp', FromPort=443, ToPort=443, CidrIp='10.0.0.0/8')
ec2.authorize_security_group_ingress(GroupId=group, IpProtocol='tcp', FromPort=5000, ToPort=6000, CidrIp='10.0.0.0/8')

on = dict(EnableIAMDatabaseAuthentication=True)
mydb = instance('mydb', EngineVersion='16.4', DBName='shop', Port=5433, VpcSecurityGroupIds=[other, group], **on)
instance('public', DBSubnetGroupName='public', CACertificateIdentifier='rds-ca-2019', **on)
instance('alone', DBSubnetGroupName='alone', **on)
instance('twin')
prod = cluster('prod', 'aurora-postgresql', 5432, DatabaseName='orders')
member = instance('prod-1', 'aurora-postgresql', DBClusterIdentifier='prod')
instance('prod-2', 'aurora-postgresql', DBClusterIdentifier='prod')
cluster('legacy', 'aurora-mysql', 3306, DatabaseName='shop', **on)
cluster('graph', 'neptune', 8182)


def proxy(name):
    auth = dict(AuthScheme='SECRETS', SecretArn='arn:aws:secretsmanager:us-east-1:123456789012:secret:s', IAMAuth='REQUIRED')
    return rds.create_db_proxy(
        DBProxyName=name, EngineFamily='POSTGRESQL', VpcSubnetIds=[first, second], VpcSecurityGroupIds=[group],
        RoleArn='arn:aws:iam::123456789012:role/proxy', Auth=[auth])['DBProxy']


front = proxy('front')
proxy('twin')
proxy('pooled')
rds.register_db_proxy_targets(DBProxyName='pooled', DBClusterIdentifiers=['prod'], DBInstanceIdentifiers=['prod-1'])
rds.register_db_proxy_targets(DBProxyName='front', DBInstanceIdentifiers=['mydb'])


def user(name):
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)['AccessKey']
    return key['AccessKeyId'], key['SecretAccessKey']


key, secret = user('caller')
admin_key, admin_secret = user('admin')
everything = dict(Version='2012-10-17', Statement=[dict(Effect='Allow', Action='*', Resource='*')])
iam.put_user_policy(UserName='admin', PolicyName='all', PolicyDocument=json.dumps(everything))

print(json.dumps(dict(
    vpc=vpc, private=f'{first},{second}', alone_subnets=','.join(alone_subnets), group=group,
    mydb_host=mydb['Endpoint']['Address'], mydb_id=mydb['DbiResourceId'],
    prod_writer=prod['Endpoint'], prod_reader=prod['ReaderEndpoint'], prod_id=prod['DbClusterResourceId'],
    member_host=member['Endpoint']['Address'],
    front_id=front['DBProxyArn'].split(':')[-1],
    key=key, secret=secret, admin_key=admin_key, admin_secret=admin_secret,
)))
