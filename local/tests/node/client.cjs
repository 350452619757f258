// Logs in as Node programs do: client.cjs <signer> <driver>.
const { readFileSync } = require('node:fs')

const { PGHOST, PGPORT, PGUSER, PGDATABASE, PGHOSTADDR, PGSSLROOTCERT, AWS_REGION } = process.env
const settings = { hostname: PGHOST, port: Number(PGPORT), username: PGUSER, region: AWS_REGION }
// Dialled by its address; the certificate names the endpoint.
const ssl = { ca: readFileSync(PGSSLROOTCERT, 'utf8'), servername: PGHOST }
const statement = 'SELECT name FROM customers ORDER BY name LIMIT 1'

const signers = {
  // aws-sdk, version 2.
  async old() {
    const { RDS } = require('aws-sdk')
    return new Promise((resolve, reject) =>
      new RDS.Signer(settings).getAuthToken({}, (error, token) =>
        error ? reject(error) : resolve(token),
      ),
    )
  },
  async new() {
    const { Signer } = require('@aws-sdk/rds-signer')
    return new Signer(settings).getAuthToken()
  },
}

const drivers = {
  async pg(sign) {
    const { Client } = require('pg')
    const client = new Client({
      host: PGHOSTADDR, port: Number(PGPORT), user: PGUSER, database: PGDATABASE,
      password: sign, ssl,
    })
    await client.connect()
    const { rows } = await client.query(statement)
    await client.end()
    return rows[0].name
  },
  async sequelize(sign) {
    const { Sequelize } = require('sequelize')
    const sequelize = new Sequelize(PGDATABASE, PGUSER, '', {
      dialect: 'postgres', host: PGHOSTADDR, port: Number(PGPORT), logging: false,
      dialectOptions: { ssl },
      hooks: { beforeConnect: async (config) => { config.password = await sign() } },
    })
    const [rows] = await sequelize.query(statement)
    await sequelize.close()
    return rows[0].name
  },
}

const [signer, driver] = process.argv.slice(2)
drivers[driver](signers[signer]).then(console.log, (error) => {
  console.error(error.message)
  process.exitCode = 1
})
