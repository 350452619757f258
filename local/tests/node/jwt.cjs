// An identity provider: jwt.cjs <folder> writes its key set, and tokens that it signed.
const { createSign, generateKeyPairSync } = require('node:crypto')
const { writeFileSync } = require('node:fs')
const { join } = require('node:path')

const folder = process.argv[2]
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const now = Math.floor(Date.now() / 1000)
const repository = 'repo:example/reports:ref:refs/heads/main'

function sign(claims, header = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'RS256', kid: 'one', typ: 'JWT', ...header })}.${part({
    iss: 'https://token.actions.githubusercontent.com',
    aud: 'sts.amazonaws.com',
    sub: repository,
    iat: now,
    exp: now + 300,
    ...claims,
  })}`
  return `${text}.${createSign('RSA-SHA256').update(text).sign(privateKey, 'base64url')}`
}

const write = (name, text) => writeFileSync(join(folder, name), text)
const key = { ...publicKey.export({ format: 'jwk' }), kid: 'one', alg: 'RS256', use: 'sig' }
write('keys.json', JSON.stringify({ keys: [key] }))
write('good', sign({}))
write('branch', sign({ sub: 'repo:example/reports:ref:refs/heads/other' }))
write('audience', sign({ aud: 'another' }))
write('expired', sign({ iat: now - 900, exp: now - 600 }))
write('issuer', sign({ iss: 'https://idp.example' }))
write('key', sign({}, { kid: 'two' }))
