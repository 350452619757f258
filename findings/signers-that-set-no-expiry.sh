#!/usr/bin/env bash
# Three small signers make RDS tokens like botocore's, with three ideas of how long they last.
#
# An RDS IAM token is a presigned URL without its scheme. aws4 1.13.2, aws4fetch 1.0.20 and @smithy/signature-v4 5.7.5 (npm) give the
# same signature as botocore 1.44.8 for the same words, for user names with @, + and a blank too. Left to themselves,
# aws4 and aws4fetch put no X-Amz-Expires into it at all, though both put 86400 there for S3; smithy's presign() says 3600. A
# token has X-Amz-Expires=900, and the signature covers it.
#
# Why it matters with Lambda and RDS: these packages are the way to a token in an edge runtime or a bundle without the SDK. The
# call looks complete because the URLs of S3 made with it work. Put X-Amz-Expires=900 into the query before you sign
# (smithy: expiresIn: 900).
set -euo pipefail

work=$(mktemp -d)
cd "$work"
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund aws4@1.13.2 aws4fetch@1.0.20 @smithy/signature-v4@5.7.5 @aws-crypto/sha256-js@5.2.0
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check botocore==1.44.8
cat >run.mjs <<'END'
import aws4 from 'aws4';
import { AwsV4Signer } from 'aws4fetch';
import { SignatureV4 } from '@smithy/signature-v4';
import sha from '@aws-crypto/sha256-js';

const keys = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret', region: 'us-east-1' };
const host = 'db.c0example1234.us-east-1.rds.amazonaws.com:5432';
const signers = {
  aws4: async (service, query) =>
    new URL(`https://${host}${aws4.sign({ service, region: keys.region, host, path: `/?${query}`, signQuery: true }, keys).path}`),
  aws4fetch: async (service, query) =>
    (await new AwsV4Signer({ ...keys, service, url: `https://${host}/?${query}`, signQuery: true, datetime: '20240826T220000Z' }).sign()).url,
  smithy: async (service, query) => {
    const words = Object.fromEntries(new URLSearchParams(query));
    const expiresIn = words['X-Amz-Expires'] && Number(words['X-Amz-Expires']);
    delete words['X-Amz-Expires'];
    delete words['X-Amz-Date'];
    const signer = new SignatureV4({ service, region: keys.region, credentials: keys, sha256: sha.Sha256 });
    const request = { method: 'GET', protocol: 'https:', hostname: host, path: '/', query: words, headers: { host } };
    const signed = await signer.presign(request, { ...(expiresIn && { expiresIn }), signingDate: new Date('2024-08-26T22:00:00Z') });
    return new URL(`https://${host}/?${new URLSearchParams(signed.query)}`);
  },
};
for (const [name, sign] of Object.entries(signers)) {
  for (const service of ['rds-db', 's3']) {
    const url = await sign(service, 'Action=connect&DBUser=app');
    console.log(`${name} for ${service}: X-Amz-Expires ${url.searchParams.get('X-Amz-Expires')}`);
  }
}
for (const user of ['app', 'app@example.com', 'a+b', 'team report']) {
  const query = `Action=connect&DBUser=${encodeURIComponent(user)}&X-Amz-Expires=900&X-Amz-Date=20240826T220000Z`;
  const signatures = await Promise.all(Object.values(signers).map(async (sign) => (await sign('rds-db', query)).searchParams.get('X-Amz-Signature')));
  console.log(`${user}: ${new Set(signatures).size} signature, ${signatures[0].slice(0, 16)}`);
}
END
cat >run.py <<'END'
import datetime
from unittest import mock

import botocore.session

client = botocore.session.get_session().create_client(
    "rds", region_name="us-east-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret")
now = datetime.datetime(2024, 8, 26, 22, tzinfo=datetime.timezone.utc)
with mock.patch("botocore.auth.get_current_datetime", return_value=now):
    for user in ("app", "app@example.com", "a+b", "team report"):
        token = client.generate_db_auth_token("db.c0example1234.us-east-1.rds.amazonaws.com", 5432, user)
        print(f"botocore, {user}: {token.split('X-Amz-Signature=')[1][:16]}, 900: {'X-Amz-Expires=900' in token}")
END

echo "$(venv/bin/python --version), Node $(node --version), aws4 1.13.2, aws4fetch 1.0.20, @smithy/signature-v4 5.7.5, botocore 1.44.8"
{ node run.mjs && venv/bin/python run.py; } | tee seen
diff - seen <<'END'
aws4 for rds-db: X-Amz-Expires null
aws4 for s3: X-Amz-Expires 86400
aws4fetch for rds-db: X-Amz-Expires null
aws4fetch for s3: X-Amz-Expires 86400
smithy for rds-db: X-Amz-Expires 3600
smithy for s3: X-Amz-Expires 3600
app: 1 signature, dd2e7f390a787516
app@example.com: 1 signature, 0f164f88630b12b6
a+b: 1 signature, fbbf117e3ce6abcc
team report: 1 signature, 346953c6f37f5bc0
botocore, app: dd2e7f390a787516, 900: True
botocore, app@example.com: 0f164f88630b12b6, 900: True
botocore, a+b: fbbf117e3ce6abcc, 900: True
botocore, team report: 346953c6f37f5bc0, 900: True
END
echo "The behaviour is as described."
