// nodemailer. Node also trusts what NODE_EXTRA_CA_CERTS names.
const nodemailer = require('nodemailer');
const fs = require('fs');
const { MAIL_HOST: host, MAIL_PORT: port, MAIL_TLS: mode, MAIL_USER: user, MAIL_PASSWORD: pass, MAIL_CA: ca, MAIL_SUBJECT: subject } = process.env;

nodemailer.createTransport({
  host,
  port: Number(port),
  secure: mode === 'tls',          // 1465
  requireTLS: mode === 'starttls', // 1587, 2525
  ignoreTLS: mode === 'none',      // 1025
  auth: mode === 'none' ? undefined : { user, pass },
  tls: ca ? { ca: fs.readFileSync(ca) } : undefined,
}).sendMail({ from: 'app@example.com', to: 'user@example.com', subject, text: 'It works.' })
  .catch((err) => { console.error(err); process.exit(1); });
