// Logs in as Node programs do: mysql.cjs <signer> <driver> <way>, where the way is the option
// enableCleartextPlugin of mysql2, or the authSwitchHandler of programs written before it.
const { readFileSync } = require('node:fs')

const { MYSQL_HOST, MYSQL_HOSTADDR, MYSQL_TCP_PORT, MYSQL_USER, MYSQL_DATABASE, MYSQL_SSL_CA, AWS_REGION } = process.env
const port = Number(MYSQL_TCP_PORT)
const settings = { hostname: MYSQL_HOST, port, username: MYSQL_USER, region: AWS_REGION }
const ca = readFileSync(MYSQL_SSL_CA, 'utf8')
// Dialled by its address; the certificate names the endpoint.
const ssl = {
  ca,
  checkServerIdentity: (_, certificate) =>
    require('node:tls').checkServerIdentity(MYSQL_HOST, certificate),
}
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

const ways = {
  option: () => ({ enableCleartextPlugin: true }),
  handler: (token) => ({
    authSwitchHandler: ({ pluginName }, callback) => {
      if (pluginName === 'mysql_clear_password') callback(null, Buffer.from(`${token}\0`))
      else callback(new Error(`asked for ${pluginName}`))
    },
  }),
}

const drivers = {
  async mysql2(token, options) {
    const connection = await require('mysql2/promise').createConnection({
      host: MYSQL_HOSTADDR, port, user: MYSQL_USER, database: MYSQL_DATABASE, password: token, ssl, ...options,
    })
    const [rows] = await connection.query(statement)
    await connection.end()
    return rows[0].name
  },
  async sequelize(token, options) {
    const { Sequelize } = require('sequelize')
    const sequelize = new Sequelize(MYSQL_DATABASE, MYSQL_USER, token, {
      dialect: 'mysql', host: MYSQL_HOSTADDR, port, logging: false,
      dialectOptions: { ssl, ...options },
    })
    const [rows] = await sequelize.query(statement)
    await sequelize.close()
    return rows[0].name
  },
}

async function main([signer, driver, way]) {
  const token = await signers[signer]()
  return drivers[driver](token, ways[way](token))
}

main(process.argv.slice(2)).then(console.log, (error) => {
  console.error(error.message)
  process.exitCode = 1
})
