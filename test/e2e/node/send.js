// Sends standard input with nodemailer, as an application would.
const fs = require('fs')
const nodemailer = require('nodemailer')

const [host, port, security, user, pass, from, to, ca] = process.argv.slice(2)
const transport = nodemailer.createTransport({
  host,
  port: Number(port),
  name: 'client.test',
  secure: security === 'implicit',
  requireTLS: security === 'starttls',
  ignoreTLS: security === 'clear',
  tls: { ca: fs.readFileSync(ca) },
  auth: user ? { user, pass } : undefined,
})
transport
  .sendMail({ envelope: { from, to }, raw: fs.readFileSync(0) })
  .then((info) => console.log(info.response))
  .catch((error) => {
    console.error(error.response || error.message)
    process.exitCode = 1
  })
