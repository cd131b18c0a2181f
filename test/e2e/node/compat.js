// Drives clients that were written for Mailpit and MailHog, as they come from
// the registry, against a running catcher.
//
//   node compat.js CLIENT PAGE SMTP-PORT     CLIENT: mailpit-api, cypress-mailpit, mailhog, cypress-mailhog
//
// Mail goes in by SMTP in clear, with any login, as those catchers take it.
const assert = require('node:assert/strict')
const fs = require('node:fs')
const nodemailer = require('nodemailer')

const [client, page, port] = process.argv.slice(2)
const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEklEQVR4nGP4z8DAAMIM/4EAAB/uBfsL2WiLAAAAAElFTkSuQmCC'

const smtp = nodemailer.createTransport(`smtp://mailpit:mailpit@127.0.0.1:${port}`)

// order is a mail with most of what mails have.
const order = (subject, more = {}) => smtp.sendMail({
  from: '"Jürgen Shop" <shop@example.com>', to: 'Anna <anna@example.org>', cc: 'carl@example.org', bcc: 'hidden@example.org',
  replyTo: 'help@example.com', subject, text: 'Thank you, Änna.\nTotal: 7 €', html: '<p>Thank you, <b>Änna</b>. <img src="cid:logo"></p>',
  list: { unsubscribe: { url: 'https://example.com/leave' } },
  attachments: [{ filename: 'invoice.pdf', content: 'JVBERi0xLjQ=', encoding: 'base64' }, { filename: 'logo.png', content: pixel, encoding: 'base64', cid: 'logo' }],
  ...more
})

const within = async (what, ask) => {
  for (const end = Date.now() + 20000; Date.now() < end; await new Promise(r => setTimeout(r, 50))) {
    const got = await ask()
    if (got) return got
  }
  throw new Error('never: ' + what)
}

const clients = {
  async 'mailpit-api' () {
    const { MailpitClient } = require('mailpit-api')
    const m = new MailpitClient(page)
    await m.deleteMessages()
    assert.deepEqual(await m.listMessages(), { total: 0, unread: 0, count: 0, messages_count: 0, messages_unread: 0, start: 0, tags: [], messages: [] })
    await order('Order 1')
    await order('Order 2', { headers: { 'X-Tags': 'urgent' } })
    const found = await m.waitForMessages({ query: 'subject:order', count: 2 })
    assert.deepEqual(found.messages.map(x => x.Subject), ['Order 2', 'Order 1'])
    const two = await m.waitForMessage({ query: 'tag:urgent' })
    assert.equal(two.Username, 'mailpit')
    assert.deepEqual([two.From, two.To, two.Cc, two.Bcc, two.ReplyTo], [
      { Name: 'Jürgen Shop', Address: 'shop@example.com' }, [{ Name: 'Anna', Address: 'anna@example.org' }],
      [{ Name: '', Address: 'carl@example.org' }], [{ Name: '', Address: 'hidden@example.org' }], [{ Name: '', Address: 'help@example.com' }]])
    assert.equal(two.Text, 'Thank you, Änna.\r\nTotal: 7 €')
    assert.match(two.HTML, /<b>Änna<\/b>/)
    assert.deepEqual(two.ListUnsubscribe.Links, ['https://example.com/leave'])
    assert.deepEqual(two.Attachments.map(x => [x.FileName, x.ContentType, x.Size, x.Checksums.MD5]), [['invoice.pdf', 'application/pdf', 8, '914240125319291c7cb7e712e419b254']])
    assert.deepEqual(two.Inline.map(x => [x.FileName, x.ContentType, x.ContentID]), [['logo.png', 'image/png', 'logo']])
    const file = await m.getMessageAttachment(two.ID, two.Attachments[0].PartID)
    assert.equal(await file.text(), '%PDF-1.4')
    assert.equal((await m.getAttachmentThumbnail(two.ID, two.Inline[0].PartID)).type, 'image/jpeg')
    assert.equal((await m.getMessageHeaders(two.ID))['Message-Id'][0], `<${two.MessageID}>`)
    assert.match(await m.getMessageSource(two.ID), /^Subject: Order 2\r\n/m)
    assert.match(await m.renderMessageHTML(two.ID), new RegExp(`src="/api/v1/message/${two.ID}/part/${two.Inline[0].PartID}"`))
    assert.equal(await m.renderMessageText(two.ID), two.Text)
    assert.equal((await m.listMessages()).unread, 1)
    assert.equal(await m.setReadStatus({ IDs: [two.ID], Read: false }), 'ok')
    assert.equal((await m.searchMessages({ query: 'is:unread' })).messages_count, 2)
    assert.equal(await m.setReadStatus({ Read: true, Search: 'subject:"Order 1"' }), 'ok')
    assert.equal((await m.searchMessages({ query: 'is:unread' })).messages_count, 1)
    assert.ok((await m.getTags()).includes('urgent'))
    assert.equal(await m.setTags({ IDs: [two.ID], Tags: ['a b', 'later'] }), 'ok')
    assert.equal(await m.renameTag('a b', 'now'), 'ok')
    assert.equal(await m.deleteTag('later'), 'ok')
    assert.deepEqual((await m.searchMessages({ query: 'tag:now' })).messages.map(x => x.Tags), [['now']])
    const check = await m.htmlCheck(two.ID)
    assert.ok(check.Total.Tests > 0 && check.Total.Nodes > 0)
    assert.deepEqual(await m.linkCheck(two.ID), { Errors: 0, Links: [] })
    await assert.rejects(m.spamAssassinCheck(two.ID), /400/)
    await assert.rejects(m.releaseMessage(two.ID, { To: ['x@example.org'] }), /no route is configured/)
    const sent = await m.sendMessage({ From: { Email: 'a@example.com' }, To: [{ Email: 'b@example.com' }], Subject: 'by HTTP', Text: 'x' })
    assert.equal((await m.getMessageSummary(sent.ID)).Subject, 'by HTTP')
    await assert.rejects(m.sendMessage({ From: { Email: 'a@example.com' } }), /to, cc, bcc not set/)
    const info = await m.getInfo()
    assert.equal(info.Messages, 3)
    assert.equal(info.RuntimeStats.SMTPAccepted >= 3, true)
    assert.equal((await m.getConfiguration()).ChaosEnabled, true)
    const chaos = { Sender: { ErrorCode: 451, Probability: 0 }, Recipient: { ErrorCode: 552, Probability: 100 }, Authentication: { ErrorCode: 535, Probability: 0 } }
    assert.deepEqual(await m.setChaosTriggers(chaos), chaos)
    assert.deepEqual(await m.getChaosTriggers(), chaos)
    await assert.rejects(order('refused'), /552/)
    await m.setChaosTriggers()
    assert.equal(await m.deleteMessagesBySearch({ query: 'tag:now' }), 'ok')
    assert.equal(await m.deleteMessages({ IDs: [sent.ID] }), 'ok')
    assert.equal((await m.listMessages()).total, 1)
    assert.equal(await m.deleteMessages(), 'ok')
    await assert.rejects(m.getMessageSummary(), /404/)
  },

  async mailhog () {
    const m = require('mailhog')({ host: new URL(page).hostname, port: new URL(page).port })
    await m.deleteAll()
    assert.equal((await m.messages()).count, 0)
    await order('Größe 1')
    await order('Größe 2')
    const both = await within('two messages', async () => { const r = await m.messages(); return r.count === 2 && r })
    const last = both.items[0]
    // The client leaves the "_" of encoded words as they are.
    assert.deepEqual([last.subject, last.from, last.to, last.replyTo].map(x => x.replace('_', ' ')), ['Größe 2', 'Jürgen Shop <shop@example.com>', 'Anna <anna@example.org>', 'help@example.com'])
    assert.ok(last.date instanceof Date && last.deliveryDate > new Date(Date.now() - 60000))
    assert.deepEqual(last.attachments.map(a => [a.name, a.type.split(';')[0], a.encoding, m.decode(a.Body, a.encoding)]), [['invoice.pdf', 'application/pdf', 'base64', '%PDF-1.4']])
    assert.equal((await m.messages(1, 1)).items[0].subject, 'Größe_1')
    assert.equal((await m.search('hidden@example.org', 'to')).total, 2) // envelope
    assert.equal((await m.latestTo('anna@example.org')).ID, last.ID)
    assert.equal((await m.latestFrom('shop@example.com')).ID, last.ID)
    assert.equal((await m.latestContaining('invoice.pdf')).ID, last.ID)
    assert.equal(await m.latestTo('nobody@example.org'), 0)
    await smtp.sendMail({ from: 'a@example.com', to: 'plain@example.org', subject: 'plain', text: 'Ünïcode and = signs, long enough to be wrapped softly by quoted-printable.' })
    const plain = await within('the plain one', () => m.latestTo('plain@example.org'))
    assert.equal(plain.text.trim(), 'Ünïcode and = signs, long enough to be wrapped softly by quoted-printable.')
    await smtp.sendMail({ from: 'a@example.com', to: 'page@example.org', subject: 'page', text: 'text', html: '<p>ü</p>' })
    const html = await within('the one with HTML', () => m.latestTo('page@example.org'))
    assert.deepEqual([html.text.trim(), html.html.trim()], ['text', '<p>ü</p>'])
    const refused = await m.releaseMessage(last.ID, { host: 'elsewhere.example', port: '25', email: 'x@example.org' })
    assert.match(refused.Error, /no route is configured/)
    assert.equal((await m.deleteMessage(last.ID)).statusCode, 200)
    assert.equal((await m.messages()).total, 3)
    await m.deleteAll()
    assert.equal((await m.messages()).total, 0)
  },

  async 'cypress-mailpit' () {
    const { cy, Cypress } = standIn({ MAILPIT_URL: page })
    const source = fs.readFileSync(require.resolve('cypress-mailpit/dist/src/MailpitCommands.js'), 'utf8')
    const Commands = new Function('cy', 'Cypress', source.replace(/^export .*$/gm, '') + '\nreturn MailpitCommands')(cy, Cypress)
    const m = new Commands()
    await m.mailpitDeleteAllEmails()
    await m.mailpitSendMail({ subject: 'by Cypress', tags: ['t'], attachments: [{ Filename: 'a.txt', Content: 'aGVsbG8=' }] })
    await order('by SMTP')
    assert.equal((await m.mailpitHasEmailsBySubject('SMTP')).messages.length, 1)
    assert.equal((await m.mailpitGetAllMails()).total, 2)
    assert.equal((await m.mailpitHasEmailsByTo('jane@example.com')).messages_count, 1)
    assert.equal((await m.mailpitHasEmailsBySearch('tag:t')).messages_count, 1)
    await m.mailpitNotHasEmailsBySearch('subject:nothing')
    await m.mailpitNotHasEmailsBySubject('nothing')
    await m.mailpitNotHasEmailsByTo('nobody@example.com')
    const mail = await m.mailpitGetMail((await m.mailpitGetEmailsBySubject('Cypress')).messages[0].ID)
    assert.equal(await m.mailpitGetSubject(mail), 'by Cypress')
    assert.deepEqual(await m.mailpitGetRecipientAddress(mail), ['jane@example.com'])
    assert.equal(await m.mailpitGetFromAddress(mail), 'from@example.com')
    assert.deepEqual(await m.mailpitGetAttachments(mail), ['a.txt'])
    assert.equal(await m.mailpitGetMailHTMlBody(mail), '<p>hello from mailpit</p>')
    assert.equal(await m.mailpitGetMailTextBody(mail), 'hello from mailpit')
    assert.equal(await m.mailpitSetAllEmailStatusAsUnRead(), 'ok')
    assert.equal(await m.mailpitSetStatusAsRead(mail), 'ok')
    assert.equal((await m.mailpitSearchEmails('is:unread')).messages_count, 1)
    assert.equal(await m.mailpitSetStatusAsUnRead([mail]), 'ok')
    assert.equal(await m.mailpitSetAllEmailStatusAsRead(), 'ok')
    assert.equal((await m.mailpitGetAllMails()).unread, 0)
    await m.mailpitDeleteEmailsBySearch('subject:Cypress')
    assert.equal((await m.mailpitGetAllMails(0, 10)).messages.length, 1)
  },

  async 'cypress-mailhog' () {
    const { cy, Cypress } = standIn({ mailHogUrl: page + '/' })
    Object.assign(globalThis, { cy, Cypress })
    require('cypress-mailhog')
    await cy.mhDeleteAll()
    await order('first')
    await order('second')
    await cy.mhWaitForMails(1)
    assert.equal((await cy.mhGetAllMails()).length, 2)
    const [second] = await cy.mhGetMailsBySubject('second')
    assert.equal((await cy.mhFirst(await cy.mhGetAllMails())).ID, second.ID)
    assert.equal((await cy.mhGetMailsByRecipient('hidden@example.org')).length, 2)
    assert.equal((await cy.mhGetMailsBySender('shop@example.com')).length, 2)
    assert.equal((await cy.mhSearchMails('to', 'anna@')).length, 2)
    assert.equal((await cy.mhFilterBySubject(await cy.mhGetAllMails(), 'first')).length, 1)
    assert.equal((await cy.mhFilterByRecipient(await cy.mhGetAllMails(), 'carl@example.org')).length, 2)
    assert.equal((await cy.mhFilterBySender(await cy.mhGetAllMails(), 'nobody@example.org')).length, 0)
    assert.equal(await cy.mhGetSubject(second), 'second')
    assert.match(await cy.mhGetBody(second), /Content-Transfer-Encoding: quoted-printable/)
    assert.equal(await cy.mhGetSender(second), 'shop@example.com')
    assert.deepEqual(await cy.mhGetRecipients(second), ['anna@example.org', 'carl@example.org', 'hidden@example.org'])
    assert.deepEqual(await cy.mhGetAttachments(second), ['invoice.pdf'])
    await cy.mhHasMailWithSubject('first')
    await cy.mhHasMailFrom('shop@example.com')
    await cy.mhHasMailTo('anna@example.org')
    assert.equal(await cy.mhGetJimMode(), false)
    await cy.mhSetJimMode(true)
    assert.equal(await cy.mhGetJimMode(), true)
    await cy.mhSetJimMode(false)
    assert.equal(await cy.mhGetJimMode(), false)
    await cy.mhDeleteAll()
    assert.equal((await cy.mhGetAllMails()).length, 0)
  }
}

// standIn is as much of Cypress as these commands use.
function standIn (env) {
  class Chain extends Promise {
    its (key) { return this.then(v => v[key]) }
    should (what, n) {
      return this.then(v => {
        if (what === 'not.have.length') assert.notEqual(v.length, n)
        else if (what === 'to.have.length.greaterThan') assert.ok(v.length > n)
        else throw new Error(what)
        return v
      })
    }
  }
  const cy = {
    wrap: v => Chain.resolve(v),
    wait: ms => new Chain(resolve => setTimeout(resolve, ms)),
    env: () => Chain.resolve({}),
    verifyUpcomingAssertions: messages => messages,
    request: ({ method, url, qs, body, failOnStatusCode }) => Chain.resolve((async () => {
      const target = new URL(url)
      for (const [k, v] of Object.entries(qs || {})) target.searchParams.set(k, v)
      const r = await fetch(target, { method, body: body && JSON.stringify(body), headers: body && { 'Content-Type': 'application/json' } })
      if (failOnStatusCode !== false) assert.ok(r.status < 400, `${method} ${target}: ${r.status}`)
      const text = await r.text()
      const json = (r.headers.get('content-type') || '').includes('application/json')
      return { status: r.status, body: json && text ? JSON.parse(text) : text }
    })())
  }
  const Cypress = {
    env: key => env[key],
    expose: key => env[key],
    config: key => ({ defaultCommandTimeout: 4000, responseTimeout: 30000 })[key],
    Commands: { add: (name, options, run) => { cy[name] = run || options } }
  }
  return { cy, Cypress }
}

clients[client]().then(() => {
  console.log('ok')
  process.exit(0)
}, err => {
  console.error(err)
  process.exit(1)
})
